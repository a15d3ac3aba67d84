"""List the network configurations that `--preset` accepts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from sipmask_core.presets import Preset

SUMMARY = "list the network configurations"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sipmask presets`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table there")


def run(args: argparse.Namespace) -> int:
    """Print one line per preset."""
    import sipmask_core as sm
    from sipmask_core.files import write_json
    from sipmask_core.provenance import provenance

    presets = [sm.get_preset(name) for name in sm.preset_names()]
    rows: list[dict[str, Any]] = [
        {
            "name": preset.name,
            "backbone": preset.backbone,
            "parameters": _count_parameters(preset),
            "input": _input_size(preset),
            "sub_regions": f"{preset.sub_regions}x{preset.sub_regions}",
            "features": _features(preset),
        }
        for preset in presets
    ]
    print(f"{'preset':<36}{'backbone':<11}{'parameters':>11}  {'input':<19}{'cells':<7}features")
    for row in rows:
        print(
            f"{row['name']:<36}{row['backbone']:<11}{row['parameters'] / 1e6:>9.1f} M  "
            f"{row['input']:<19}{row['sub_regions']:<7}{row['features']}"
        )
    print("Parameters are those with 80 classes; any number of classes can be trained.")
    if args.json:
        write_json(args.json, {"presets": rows, "provenance": provenance()})
    return 0


def _count_parameters(preset: Preset) -> int:
    """Parameters with 80 classes; on the meta device, which holds shapes without memory."""
    import torch

    import sipmask_core as sm

    with torch.device("meta"):
        model = sm.build_model(preset.name, num_classes=80)
    return sum(parameter.numel() for parameter in model.parameters())


def _input_size(preset: Preset) -> str:
    from sipmask_core.presets import KeepRatio, Letterbox

    if isinstance(preset.resize, KeepRatio):
        return f"{preset.resize.short} (to {preset.resize.long})"
    size = f"{preset.resize.height}x{preset.resize.width}"
    return f"{size} letterbox" if isinstance(preset.resize, Letterbox) else size


def _features(preset: Preset) -> str:
    features = {
        "group norm": preset.group_norm,
        "deformable": preset.deformable,
        "mask rescoring": preset.mask_rescoring,
    }
    return ", ".join(name for name, present in features.items() if present)
