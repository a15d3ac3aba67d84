"""The options that choose a model and where it runs, and what reports say of it."""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.errors import InputError
from sipmask_core.runtime.arguments import number_reader
from sipmask_core.runtime.settings import settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from _typeshed import DataclassInstance

    from sipmask_core.segmenter import Segmenter

WEIGHTS = "weights: a name in `sipmask weights list`, a .safetensors, or the authors' .pth"
RUNNABLE = (
    f"{WEIGHTS}; or an .onnx file of `sipmask export`; or package.module:factory, code of your own"
    " (examples/README.md)"
)
PRESET = "the network's configuration, if a .pth fits several; see `sipmask presets`"


def add_checkpoint_arguments(
    parser: argparse.ArgumentParser,
    preset_metavar: str = "NAME",
    preset_help: str = PRESET,
    checkpoint_help: str = WEIGHTS,
) -> argparse._ArgumentGroup:
    """Add --checkpoint and --preset."""
    group = parser.add_argument_group("model (by default the one that ships with the package)")
    group.add_argument("--checkpoint", type=Path, metavar="MODEL", help=checkpoint_help)
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

    read = number_reader(number, rule.accepts, f"it must be {rule.accepted}")
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
        help="CPU threads of the network; by default PyTorch decides",
    )


def load_predictor(
    args: argparse.Namespace,
    device: torch.device | None = None,
    *,
    score_threshold: float | None = None,
) -> Segmenter:
    """Load the model that the options ask for.

    device: in place of --device, for one of several processes. Raise InputError if the options
    cannot be met.
    """
    from sipmask_core.inference.load import load_segmenter

    return load_segmenter(
        _model(args),
        device=args.device if device is None else str(device),
        precision=args.precision,
        score_threshold=score_threshold,
        num_threads=args.threads,
        preset=args.preset,
    )


def add_tiles_argument(parser: argparse._ActionsContainer) -> None:
    """Add --tiles, which `load_tiled` obeys."""
    parser.add_argument(
        "--tiles",
        type=_tiles,
        metavar="CxR",
        help="for small objects, also look at C columns by R rows of overlapping tiles, such as"
        " 2x2; each takes as long as an image",
    )


def _tiles(text: str) -> str:
    from sipmask_core.inference.tiles import read_grid

    try:
        read_grid(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def load_tiled(args: argparse.Namespace, *, score_threshold: float | None = None) -> Segmenter:
    """Load the model that the options ask for, with the tiles of --tiles if it is given.

    Raise InputError if the options cannot be met.
    """
    from sipmask_core.inference.tiles import tiled

    return tiled(load_predictor(args, score_threshold=score_threshold), args.tiles or "")


def weights_path(args: argparse.Namespace) -> Path:
    """Return the file of weights that --checkpoint names, or the one that ships.

    Raise InputError for --preset without --checkpoint, for weights that are not here, and for a
    factory, whose weights only its own code knows.
    """
    from sipmask_core.inference.factories import names_factory
    from sipmask_core.inference.load import model_file

    model = _model(args)
    path = None if names_factory(model) else model_file(model)
    if path is None:
        raise InputError(f"--checkpoint is {model!r}, which is code; weights are needed here.")
    return path


def model_files(args: argparse.Namespace) -> list[Path]:
    """Return the file behind the model, whose hash a report gives beside its numbers."""
    from sipmask_core.inference.load import model_file

    path = model_file(_model(args))
    return [] if path is None else [path]


def _model(args: argparse.Namespace) -> str:
    """Return what --checkpoint says; "" for the model that ships."""
    if args.checkpoint is None and args.preset is not None:
        from sipmask_core.model.presets import get_preset

        get_preset(args.preset)  # a name that does not exist is told of first
        raise InputError(
            f"--preset {args.preset} names a network without weights; add --checkpoint FILE."
        )
    return "" if args.checkpoint is None else str(args.checkpoint)


def ran_with(predictor: Segmenter) -> dict[str, Any]:
    """Return what a report says of the model."""
    return {
        "model": predictor.model_name,
        "precision": predictor.precision,
        "score_threshold": predictor.score_threshold,
    }


@contextmanager
def naming_options(**options: str) -> Iterator[None]:
    """Name options in the InputErrors of the block, which name arguments: topics="--topic"."""
    try:
        yield
    except InputError as error:
        sentence = str(error)
        for argument, option in options.items():
            sentence = sentence.replace(f"`{argument}`", option)
        raise type(error)(sentence) from None


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
