"""COCO run-length encodings from untrusted files: checked before pycocotools decodes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sipmask_core.data.fields import as_whole_number
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Unchecked = tuple[Any, tuple[int, int], str]  # what `checked_rle` takes

# Most characters of one run length: 30 bits. pycocotools shifts 32-bit numbers and would misread
# longer ones.
LONGEST = 6
BATCH = 256  # RLEs that are looked at together
_MOST_AREAS = 255


def checked_rles(entries: Sequence[Unchecked]) -> list[dict[str, Any]]:
    """Do as `checked_rle` for each (value, size, where), many times as fast if there are many.

    Raises InputError for the first one that it refuses.
    """
    checked: list[dict[str, Any]] = []
    for start in range(0, len(entries), BATCH):
        batch = entries[start : start + BATCH]
        if all(_is_compressed(value, size) for value, size, _ in batch) and _all_fill(
            [value["counts"] for value, _, _ in batch], [h * w for _, (h, w), _ in batch]
        ):
            checked += [{"size": [*size], "counts": value["counts"]} for value, size, _ in batch]
        else:
            checked += [checked_rle(*entry) for entry in batch]
    return checked


def checked_rle(value: dict[str, Any], size: tuple[int, int], where: str) -> dict[str, Any]:
    """Return the compressed form of an RLE after checking that its runs fill its image exactly.

    `value` is {"size": [H, W], "counts": ...} with counts a list of run lengths (uncompressed) or
    a string (compressed); runs alternate background, object and go down the columns. `size` is
    the (H, W) that it must have, `where` names the entry in messages. Raises InputError if the size
    or the runs do not fit: decoding such an RLE is not safe.
    """
    from pycocotools import mask as coco_mask

    height, width = size
    if value.get("size") != [height, width]:
        raise InputError(f"{where}.size is {value.get('size')!r}, expected [{height}, {width}].")
    counts = value.get("counts")
    if isinstance(counts, bytes):
        counts = counts.decode("latin-1")
    runs = _decompress(counts, where) if isinstance(counts, str) else _listed(counts, where)
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise InputError(
            f"{where}.counts has runs that sum to {sum(runs)}, expected non-negative runs that"
            f" fill {height} x {width} = {height * width} pixels."
        )
    if isinstance(counts, str):
        return {"size": [height, width], "counts": counts}
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def _listed(counts: Any, where: str) -> list[int]:
    """Read run lengths from a list, in which they may be written as floats."""
    if isinstance(counts, list):
        runs = [run for run in map(as_whole_number, counts) if run is not None]
        if len(runs) == len(counts):
            return runs
    raise InputError(f"{where}.counts is neither a list of integers nor a compressed string.")


def areas(rles: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Return how many pixels each of N compressed RLEs covers, (N,).

    pycocotools alone fails for more than 255 at a time.
    """
    from pycocotools import mask as coco_mask

    batches = range(0, len(rles), _MOST_AREAS)
    counted = [coco_mask.area(rles[start : start + _MOST_AREAS]) for start in batches]
    return np.concatenate([np.zeros(0), *counted])


def _decompress(counts: str, where: str) -> list[int]:
    """Decode the run lengths of a compressed RLE string.

    Each character from "0" on holds six bits: five of payload, least significant first, and one
    that says whether more follow; from the fourth run on, a number is the difference to the run two
    before.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift == 5 * LONGEST:
            raise InputError(f"{where}.counts is not a compressed run-length string.")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise InputError(f"{where}.counts ends in the middle of a run.")
    return runs


def _is_compressed(value: Any, size: tuple[int, int]) -> bool:
    return (
        isinstance(value, dict)
        and value.get("size") == [*size]
        and isinstance(value.get("counts"), str)
    )


def _all_fill(texts: list[str], pixels: list[int]) -> bool:
    """Return whether T compressed strings are well formed and fill these numbers of pixels.

    They are decoded all at once, C characters and R runs; see `_decompress` for the format.
    """
    joined = "".join(texts)
    if not all(texts) or not joined.isascii():
        return False
    codes = np.frombuffer(joined.encode(), np.uint8) - np.uint8(48)  # (C,), wraps below "0"
    text_ends = np.cumsum([len(text) for text in texts])  # (T,)
    ends = np.flatnonzero(codes < 32)  # (R,) the last character of each run
    if codes.max() >= 64 or codes[text_ends - 1].max() >= 32:
        return False
    lengths = np.diff(ends, prepend=-1)  # (R,)
    if lengths.max() > LONGEST:
        return False

    runs = codes[ends].astype(np.int64)
    runs -= (runs & 16) << 1  # the sign
    longer, place = np.flatnonzero(lengths > 1), 1
    while len(longer):
        runs[longer] = (runs[longer] << 5) + (codes[ends[longer] - place] & 31)
        place += 1
        longer = longer[lengths[longer] > place]

    first = np.searchsorted(ends, np.r_[0, text_ends[:-1]])  # (T,) runs that begin a string
    absolute = np.zeros(len(runs) + 2, bool)
    absolute[np.add.outer(first, range(3))] = True
    for parity in (0, 1):
        runs[parity::2] = _sums(runs[parity::2], absolute[: len(runs)][parity::2])
    return bool(runs.min() >= 0 and (np.add.reduceat(runs, first) == pixels).all())


def _sums(values: NDArray[np.int64], begins: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Sum values (N,) up to each (N,), anew wherever `begins` (N,) is true; its first one is."""
    sums = values.cumsum()
    before = (sums - values)[begins]
    return sums - before[begins.cumsum() - 1]
