"""Command lines, as several programs read them: the whole, and values for argparse's `type`."""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

N = TypeVar("N", int, float)


def parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments, None for those of this process.

    Beside what the parser declares, `command` holds the words that a shell needs to do it again.
    """
    given = sys.argv[1:] if arguments is None else arguments
    args = parser.parse_args(given)
    args.command = [*parser.prog.split(), *given]
    return args


def number_reader(
    number: Callable[[str], N], accepts: Callable[[float], bool], rule: str
) -> Callable[[str], N]:
    """Return what reads a number and refuses, with the rule, text that is none or not accepted.

    number: what the text is read as. rule: the end of the sentence, such as "it must be 1 or more".
    """

    def read(text: str) -> N:
        try:
            value = number(text)
        except ValueError:
            value = None
        if value is None or not accepts(value):
            raise argparse.ArgumentTypeError(f"it is {text!r}; {rule}")
        return value

    return read


def _whole(text: str) -> int:
    value = float(text)
    if not value.is_integer():
        raise ValueError
    return int(value)


positive = number_reader(float, lambda value: 0 < value < math.inf, "accepted is a number above 0")
not_negative = number_reader(
    float, lambda value: 0 <= value < math.inf, "accepted is a number from 0 up"
)
count = number_reader(_whole, lambda value: value >= 1, "accepted is a whole number from 1 up")


def width_by_height(text: str) -> tuple[int, int]:
    """Read WxH, such as 1280x720."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        width = height = 0
    if min(width, height) < 1:
        raise argparse.ArgumentTypeError(f"it is {text!r}; accepted is WxH, such as 1280x720")
    return width, height
