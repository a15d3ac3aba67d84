"""What a run may change of its recipe, said once for command line, checks and errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Below, P6 is a single pixel, and oneDNN 3 leaves part of the bfloat16 gradient of the stride-2
# convolution after it uninitialised.
MIN_SIDE = 96


class Option(NamedTuple):
    """A field of `Recipe` as an option.

    flag: its name on the command line. kind, symbol: what its text is read as and called there.
    help: for the reader of `--help`. accepted, accepts: which values are valid, in words and as a
    test of the field's value. choices: the only values, if they can be listed. made: the field's
    value of what was read and of whether the recipe `turns` its images.
    """

    field: str
    flag: str
    kind: type
    symbol: str | None
    help: str
    accepted: str
    accepts: Callable[[Any], bool]
    choices: tuple[str, ...] | None = None
    made: Callable[[Any, bool], Any] = lambda value, turns: value


def _count(value: int) -> bool:
    return value >= 1


def _sides(value: tuple[int, int] | None) -> bool:
    return all(side >= MIN_SIDE and side % 32 == 0 for side in value or ())


def _canvas(side: int, turns: bool) -> tuple[int, int]:
    """Return (H, W): a square or, if images are turned, what is nearest to 4 : 3.

    That is what most photographs have.
    """
    return (max(MIN_SIDE, round(0.75 * side / 32) * 32) if turns else side), side


def _choice(field: str, help_text: str, *choices: str) -> Option:
    accepted = " or ".join((", ".join(choices[:-1]), choices[-1]))
    return Option(
        field, field, str, None, help_text, accepted, lambda value: value in choices, choices
    )


OPTIONS = (
    Option("epochs", "epochs", int, "N", "passes over the data", "1 or more", _count),
    Option(
        "batch_size",
        "batch",
        int,
        "N",
        "images per step, over all processes; the learning rate is scaled with it",
        "1 or more",
        _count,
    ),
    Option(
        "lr",
        "lr",
        float,
        "RATE",
        "highest learning rate, not scaled with the batch",
        "a positive number",
        lambda value: math.isfinite(value) and value > 0,
    ),
    Option(
        "pretrained_lr_factor",
        "pretrained-lr-factor",
        float,
        "F",
        "learning rate of weights that come from a file, relative to the others'; 1 treats them"
        " alike",
        "0 to 1",
        lambda value: 0 <= value <= 1,
    ),
    Option(
        "input_size",
        "size",
        int,
        "PIXELS",
        "side of the square input or, if the preset keeps the aspect ratio, its longer side",
        f"a multiple of 32 from {MIN_SIDE}",
        _sides,
        made=_canvas,
    ),
    Option(
        "seed",
        "seed",
        int,
        "N",
        "seed of weights, order and augmentation",
        "0 to 2**32 - 1",
        lambda value: 0 <= value < 2**32,
    ),
    _choice(
        "precision", "number format of the forward pass; weights stay fp32", "fp32", "bf16", "fp16"
    ),
    Option(
        "accumulate",
        "accumulate",
        int,
        "N",
        "process each batch in N parts, to save memory, and use the mean of their gradients, as N"
        " processes with --normalise local would (default: 1)",
        "1 or more",
        _count,
    ),
    Option(
        "clip_norm",
        "clip-norm",
        float,
        "NORM",
        "scale gradients down to this norm; 0 leaves them",
        "a positive number, or 0 for none",
        lambda value: math.isfinite(value) and value >= 0,
    ),
    Option(
        "ema_decay",
        "ema",
        float,
        "DECAY",
        "validate and publish a running average of the weights, e.g. 0.998; 0: the weights",
        "0 (none) to less than 1",
        lambda value: 0 <= value < 1,
    ),
    _choice(
        "normalise",
        "divide losses by counts over the whole batch, so that the number of processes does not"
        " matter, or over each process's share, as the authors' code does",
        "global",
        "local",
    ),
    Option(
        "train_only",
        "train-only",
        str,
        "PART",
        "train only parameters with PART in their name, such as bbox_head or track, and keep all"
        " others bit for bit",
        "part of a name",
        lambda value: True,
    ),
    Option(
        "validate_every",
        "validate-every",
        int,
        "N",
        "epochs between validations; the last epoch always has one",
        "1 or more",
        _count,
    ),
)


def chosen_values(read: Mapping[str, Any], turns: bool) -> dict[str, Any]:
    """Return the fields' values of what was read by field; None means that nothing was chosen.

    turns: whether the recipe that they are for turns its images.
    """
    given = ((option, read.get(option.field)) for option in OPTIONS)
    return {option.field: option.made(value, turns) for option, value in given if value is not None}
