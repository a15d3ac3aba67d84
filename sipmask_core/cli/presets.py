"""List the network configurations that `--preset` accepts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from sipmask_core.model.presets import Preset

SUMMARY = "list the network configurations"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sipmask presets`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table there")


def run(args: argparse.Namespace) -> int:
    """Print one line per preset."""
    import sipmask_core as sm
    from sipmask_core.runtime.files import write_json
    from sipmask_core.runtime.provenance import provenance

    rows = [_describe(sm.get_preset(name)) for name in sm.preset_names()]
    print(
        f"{'preset':<36}{'backbone':<19}{'parameters':>11}{'GFLOPs':>9}  {'input':<19}{'cells':<7}"
        "features"
    )
    for row in rows:
        print(
            f"{row['name']:<36}{row['backbone']:<19}{row['parameters'] / 1e6:>9.1f} M"
            f"{row['flops'] / 1e9:>9.1f}  {row['input']:<19}{row['sub_regions']:<7}"
            f"{row['features']}"
        )
    print(
        "Parameters and GFLOPs (2 per multiply-add, one image of the largest input) are those with"
        " the default classes; any number of classes can be trained."
    )
    if args.json:
        write_json(args.json, {"presets": rows, "provenance": provenance(args.command)})
    return 0


def _describe(preset: Preset) -> dict[str, Any]:
    from sipmask_core.model.cost import cost_of

    cost = cost_of(preset)
    return {
        "name": preset.name,
        "backbone": preset.backbone,
        "parameters": cost.parameters,
        "flops": cost.flops,
        "network_input": cost.input_size,
        "input": _input_size(preset),
        "sub_regions": f"{preset.sub_regions}x{preset.sub_regions}",
        "features": _features(preset),
    }


def _input_size(preset: Preset) -> str:
    from sipmask_core.model.presets import KeepRatio, Letterbox

    if isinstance(preset.resize, KeepRatio):
        return f"{preset.resize.short} (to {preset.resize.long})"
    size = f"{preset.resize.height}x{preset.resize.width}"
    return f"{size} letterbox" if isinstance(preset.resize, Letterbox) else size


def _features(preset: Preset) -> str:
    features = {
        "group norm": preset.group_norm,
        "deformable": preset.deformable,
        "mask rescoring": preset.mask_rescoring,
        "track branch": preset.embedding_channels > 0,
    }
    return ", ".join(name for name, present in features.items() if present)
