"""Values on command lines that several programs read in the same way, for argparse's `type`."""

from __future__ import annotations

import argparse
import math


def width_by_height(text: str) -> tuple[int, int]:
    """Read WxH, such as 1280x720."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        width = height = 0
    if min(width, height) < 1:
        raise argparse.ArgumentTypeError(f"it is {text!r}; accepted is WxH, such as 1280x720")
    return width, height


def positive(text: str) -> float:
    """Read a finite number above 0."""
    value = _number(text)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"it is {text!r}; accepted is a number above 0")
    return value


def not_negative(text: str) -> float:
    """Read a finite number from 0 up."""
    value = _number(text)
    if not (value >= 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"it is {text!r}; accepted is a number from 0 up")
    return value


def count(text: str) -> int:
    """Read a whole number from 1 up."""
    value = _number(text)
    if not (value >= 1 and value.is_integer()):
        raise argparse.ArgumentTypeError(f"it is {text!r}; accepted is a whole number from 1 up")
    return int(value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
