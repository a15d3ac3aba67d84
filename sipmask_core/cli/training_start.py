"""What a training starts from: the network's preset, its first weights, and the recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sipmask_core.cli.options import naming_options
from sipmask_core.errors import InputError
from sipmask_core.training.recipe_options import OPTIONS

if TYPE_CHECKING:
    import argparse

    from sipmask_core.model.presets import Preset
    from sipmask_core.model.sipmask import SipMask


def add_start_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the network and where it starts."""
    start = parser.add_argument_group("model and start (one of --preset and --checkpoint, or both)")
    start.add_argument(
        "--preset", metavar="NAME", help="see `sipmask presets` (default: that of --checkpoint)"
    )
    start.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change the preset for an experiment, e.g. sub_regions=1 (1 to 5),"
        " feature_alignment=false, mask_weighting=false; may be repeated",
    )
    start.add_argument(
        "--checkpoint",
        type=Path,
        metavar="MODEL",
        help="a model to start from: a name in `sipmask weights list`, a .safetensors of this"
        " project or the authors' .pth; with --resume, only its preset is read, if --preset is not"
        " given",
    )
    start.add_argument(
        "--remake-heads",
        action="store_true",
        help="start parts of the head anew that do not fit --checkpoint, and name them",
    )
    start.add_argument(
        "--init",
        type=Path,
        metavar="FILE",
        help="backbone weights to start from (torchvision's); not read again by --resume",
    )
    start.add_argument("--resume", action="store_true", help="continue the run in --output")


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a run may change of its recipe."""
    recipe = parser.add_argument_group("recipe (by default the preset's own)")
    for option in OPTIONS:
        recipe.add_argument(
            f"--{option.flag}",
            dest=option.field,
            type=option.kind,
            metavar=option.symbol,
            choices=option.choices,
            help=option.help,
        )


def require_a_start(args: argparse.Namespace) -> None:
    """Raise InputError if the options name no network, or more than one start."""
    if args.preset is None and args.checkpoint is None:
        raise InputError(
            "Name the network with --preset, or give a --checkpoint to start from, such as "
            "sipmask_efficientnet_lite0, the model that ships."
        )
    if args.init is not None and args.checkpoint is not None:
        raise InputError("--init starts a backbone and --checkpoint a whole model; give one.")
    if args.remake_heads and args.checkpoint is None:
        raise InputError("--remake-heads belongs to --checkpoint.")


def named_preset(args: argparse.Namespace) -> Preset:
    """Return the preset that the options name, or that of their checkpoint."""
    import sipmask_core as sm
    from sipmask_core.model.checkpoints import checkpoint_preset

    if args.preset is not None:
        return sm.get_preset(args.preset)
    return checkpoint_preset(args.checkpoint)


def load_start(model: SipMask, args: argparse.Namespace) -> set[str]:
    """Load the weights that the options name; return the keys that are pretrained."""
    import sipmask_core as sm
    from sipmask_core.model.checkpoints import transfer_weights
    from sipmask_core.runtime.distributed import say

    if args.init is not None:
        fresh = sm.load_backbone(model, args.init)
        if fresh:
            say(f"Not in {args.init}, so trained from random weights: {', '.join(fresh)}.")
        keys = {f"backbone.{key}" for key in model.backbone.state_dict()}
        return keys - {f"backbone.{key}" for key in fresh}
    if args.checkpoint is None:
        return set()
    with naming_options(remake_heads="--remake-heads"):
        start = transfer_weights(model, args.checkpoint, args.remake_heads)
    if start.fresh:
        say(f"Made anew, for they do not fit {args.checkpoint}: {', '.join(start.fresh)}.")
    if start.left_out:
        say(f"In {args.checkpoint} and not used: {', '.join(start.left_out)}.")
    if not start.fresh and start.class_names not in (None, model.class_names):
        say(
            f"{args.checkpoint} was trained for other classes ({', '.join(start.class_names[:5])});"
            " as it has as many, its classifier is kept to start from."
        )
    return set(start.taken)
