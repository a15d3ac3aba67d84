"""Fields of an entry of an annotation file, read as tools write them; Invalid if that fails."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from sipmask_core.data.problems import Invalid, wrong_field

if TYPE_CHECKING:
    from collections.abc import Sequence

Entry = dict[str, Any]
Size = tuple[int, int]

# Most pixels of an image's side: JPEG's limit. pycocotools counts pixels in 32 bits, and needs
# memory for every pixel along a polygon's edges.
MOST_SIDE = 65_535


class Field(NamedTuple):
    """A value from a file, under the name that messages give it, such as "bboxes[3]"."""

    name: str
    value: Any


def is_finite_number(value: Any) -> bool:
    """Return whether a value from JSON is a number that a float holds: not true, not NaN."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def as_whole_number(value: Any) -> int | None:
    """Return an integer, also one that was written as 7.0 or "7"; None for anything else."""
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 40:
        return int(value)
    return None


def whole_number(entry: Entry, field: str, minimum: int | None = None) -> int:
    """Read an integer that is at least `minimum`."""
    value = as_whole_number(entry.get(field))
    if value is None or (minimum is not None and value < minimum):
        limit = "" if minimum is None else f" >= {minimum}"
        raise wrong_field(field, entry.get(field), f"expected an integer{limit}")
    return value


def numbers_for_texts(ids: Sequence[Any]) -> dict[str, int]:
    """Return a number for each id that is a text and no number, above those that are numbers."""
    texts = [i for i in ids if isinstance(i, str) and i and as_whole_number(i) is None]
    largest = max((number for i in ids if (number := as_whole_number(i)) is not None), default=0)
    return {text: number for number, text in enumerate(dict.fromkeys(texts), max(largest, 0) + 1)}


def text(entry: Entry, field: str) -> str:
    """Read a text that is not empty."""
    value = entry.get(field)
    if not isinstance(value, str) or not value:
        raise wrong_field(field, value, "expected a name")
    return value


def image_size(entry: Entry) -> Size:
    """Read the (H, W) of an image or video, 1 to MOST_SIDE each."""
    height, width = (whole_number(entry, side, 1) for side in ("height", "width"))
    if max(height, width) > MOST_SIDE:
        message = f".height and width are {height} and {width}, expected at most {MOST_SIDE}"
        raise Invalid("large", message)
    return height, width


def is_crowd(entry: Entry) -> bool:
    """Read the field `iscrowd`; false if it is missing or null."""
    value = entry.get("iscrowd")
    if value not in (None, 0, 1, "0", "1"):
        raise wrong_field("iscrowd", value, "expected 0 or 1")
    return value in (1, "1")
