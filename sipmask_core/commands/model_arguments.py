"""The options that choose a model and where it runs, and what reports say of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    import argparse

    from sipmask_core.predictor import Predictor


def add_model_arguments(
    parser: argparse.ArgumentParser,
    preset_metavar: str = "NAME",
    preset_help: str = (
        "the network's configuration, where a .pth fits several; see `sipmask presets`"
    ),
) -> None:
    """Add --checkpoint, --preset, --device, --precision and --threads."""
    group = parser.add_argument_group("model (by default the one that ships with the package)")
    group.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="weights: .safetensors of this project or the authors' .pth",
    )
    group.add_argument(
        "--preset",
        metavar=preset_metavar,
        help=preset_help,
    )
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
    """The predictor that the options ask for.

    Raises InputError where the options cannot be met.
    """
    import sipmask_core as sm

    if args.checkpoint is not None:
        model = sm.load_model(args.checkpoint, args.preset)
    elif args.preset is not None:
        raise InputError(
            f"--preset {args.preset} names a network without weights; add --checkpoint FILE."
        )
    else:
        return sm.Predictor.from_pretrained(
            device=args.device,
            precision=args.precision,
            score_threshold=score_threshold,
            num_threads=args.threads,
        )
    return sm.Predictor(
        model,
        device=args.device,
        precision=args.precision,
        score_threshold=score_threshold,
        num_threads=args.threads,
    )


def model_files(args: argparse.Namespace) -> list[Path]:
    """The weight file to hash beside the numbers; none where the weights are random."""
    if args.checkpoint is not None:
        return [args.checkpoint]
    from sipmask_core.predictor import PRETRAINED

    return [] if args.preset is not None else [PRETRAINED]


def ran_with(predictor: Predictor) -> dict[str, Any]:
    """What a report says of the model."""
    return {
        "model": predictor.model_name,
        "precision": predictor.precision,
        "score_threshold": predictor.score_threshold,
    }
