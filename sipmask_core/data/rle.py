"""COCO run-length encodings from untrusted files: checked before pycocotools decodes them."""

from __future__ import annotations

from typing import Any

from sipmask_core.errors import InputError


def checked_rle(value: dict[str, Any], size: tuple[int, int], where: str) -> dict[str, Any]:
    """The compressed form of an RLE whose runs are known to fill its image exactly.

    `value` is {"size": [H, W], "counts": ...} with counts a list of run lengths (uncompressed) or
    a string (compressed); runs alternate background, object and go down the columns. `size` is
    the (H, W) it must have, `where` names the entry in messages. Raises InputError when the size
    or the runs do not fit: decoding such an RLE is not safe.
    """
    from pycocotools import mask as coco_mask

    height, width = size
    if value.get("size") != [height, width]:
        raise InputError(f"{where}.size is {value.get('size')!r}, expected [{height}, {width}].")
    counts = value.get("counts")
    if isinstance(counts, bytes):
        counts = counts.decode("latin-1")
    if isinstance(counts, str):
        runs = _decompress(counts, where)
    elif isinstance(counts, list) and all(type(run) is int for run in counts):
        runs = counts
    else:
        raise InputError(f"{where}.counts is neither a list of integers nor a compressed string.")
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise InputError(
            f"{where}.counts has runs that sum to {sum(runs)}, expected non-negative runs that"
            f" fill {height} x {width} = {height * width} pixels."
        )
    if isinstance(counts, str):
        return {"size": [height, width], "counts": counts}
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def _decompress(counts: str, where: str) -> list[int]:
    """Run lengths of a compressed RLE string.

    Six bits per character from "0" on: five of payload, least significant first, and one that
    says that more follow; from the fourth run on, the difference to the run two before.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 30:
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
