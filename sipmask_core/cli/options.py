"""The options that choose a model and where it runs, and what reports say of it."""

from __future__ import annotations

import argparse
import math
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.errors import InputError
from sipmask_core.runtime.settings import settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import DataclassInstance

    from sipmask_core.inference.predictor import Predictor

WEIGHTS = "weights: .safetensors of this project or the authors' .pth"
RUNNABLE = f"{WEIGHTS}; or an .onnx file of `sipmask export`"
PRESET = "the network's configuration, where a .pth fits several; see `sipmask presets`"


def add_checkpoint_arguments(
    parser: argparse.ArgumentParser,
    preset_metavar: str = "NAME",
    preset_help: str = PRESET,
    checkpoint_help: str = WEIGHTS,
) -> argparse._ArgumentGroup:
    """Add --checkpoint and --preset."""
    group = parser.add_argument_group("model (by default the one that ships with the package)")
    group.add_argument("--checkpoint", type=Path, metavar="FILE", help=checkpoint_help)
    group.add_argument("--preset", metavar=preset_metavar, help=preset_help)
    return group


def add_setting(
    group: argparse._ActionsContainer,
    kind: type[DataclassInstance],
    name: str,
    number: type[float] | type[int],
    flag: str,
    metavar: str,
    **more: Any,
) -> None:
    """Add a setting of a dataclass as an option, with its default, its range and its help.

    number: what its text is read as. more: as argparse takes it.
    """
    rule = settings_of(kind)[name]

    def read(text: str) -> float:
        try:
            value = number(text)
        except ValueError:
            value = math.nan
        if not rule.accepts(value):
            raise argparse.ArgumentTypeError(f"it is {text!r}; it must be {rule.accepted}")
        return value

    default = "" if rule.default is None else f" (default: {rule.default:g})"
    text = rule.description[0].lower() + rule.description[1:].rstrip(".") + default
    group.add_argument(
        flag, dest=name, type=read, default=rule.default, metavar=metavar, help=text, **more
    )


def add_model_arguments(
    parser: argparse.ArgumentParser,
    preset_metavar: str = "NAME",
    preset_help: str = PRESET,
    checkpoint_help: str = RUNNABLE,
) -> None:
    """Add --checkpoint, --preset, --device, --precision and --threads."""
    group = add_checkpoint_arguments(parser, preset_metavar, preset_help, checkpoint_help)
    group.add_argument(
        "--device", default="auto", help="auto (default), cpu, cuda or cuda:N", metavar="DEVICE"
    )
    group.add_argument(
        "--precision",
        default="auto",
        metavar="TYPE",
        help="auto (default), fp32, fp16 or bf16",
    )
    group.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="threads for the network on the CPU; by default PyTorch decides",
    )


def load_predictor(
    args: argparse.Namespace,
    *,
    score_threshold: float | None = None,
) -> Predictor:
    """Load the predictor that the options ask for.

    Raise InputError if the options cannot be met.
    """
    import sipmask_core as sm

    options = {
        "device": args.device,
        "precision": args.precision,
        "score_threshold": score_threshold,
        "num_threads": args.threads,
    }
    if args.checkpoint is None and args.preset is None:
        return sm.Predictor.from_pretrained(**options)
    return sm.Predictor.from_file(weights_file(args), preset=args.preset, **options)


def weights_file(args: argparse.Namespace) -> Path:
    """Return the file that --checkpoint names, or the one that ships with the package.

    Raise InputError for --preset without --checkpoint.
    """
    from sipmask_core.inference.predictor import PRETRAINED

    if args.checkpoint is None and args.preset is not None:
        raise InputError(
            f"--preset {args.preset} names a network without weights; add --checkpoint FILE."
        )
    return args.checkpoint or PRETRAINED


def model_files(args: argparse.Namespace) -> list[Path]:
    """Return the weight file, whose hash a report gives beside its numbers."""
    return [weights_file(args)]


def ran_with(predictor: Predictor) -> dict[str, Any]:
    """Return what a report says of the model."""
    return {
        "model": predictor.model_name,
        "precision": predictor.precision,
        "score_threshold": predictor.score_threshold,
    }


@contextmanager
def importing_bags() -> Iterator[None]:
    """Turn an import error in the block, which imports what reads bags, into an InputError."""
    try:
        yield
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError)
        reason = f"the module {error.name} is missing" if missing else str(error)
        raise InputError(
            "Bags need ROS 2, the built sipmask_ros and `pip install 'sipmask-core[bag]'`: "
            f"{reason}."
        ) from None
