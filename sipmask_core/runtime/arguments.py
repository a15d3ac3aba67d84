"""Values on command lines that several programs read in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def width_by_height(text: str) -> tuple[int, int]:
    """Read WxH; argparse names the option when this raises ValueError."""
    width, height = (int(part) for part in text.lower().split("x"))
    if min(width, height) < 1:
        raise ValueError
    return width, height


# argparse shows this name in "invalid WxH (such as 1280x720) value: '12'".
width_by_height.__name__ = "WxH (such as 1280x720)"
