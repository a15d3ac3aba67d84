"""One mask, stored only where it can be, and its COCO run lengths, made without the full mask.

The format: lengths of the runs down the columns of the full mask, background and object in turn,
background first. If compressed, each length from the fourth on is replaced by its difference to the
one two before. A number becomes groups of five bits, least significant first, each with a sixth bit
that says whether more follow; each group is a character from "0" on. (pycocotools,
common/maskApi.c)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class MaskCrop(NamedTuple):
    """One mask, stored only where it can be non-zero.

    `bitmap` is (h, w) bool; its top-left pixel is pixel (x, y) of the image. Everything outside
    the crop is background. An empty mask has a bitmap of shape (0, 0) at (0, 0).

    >>> import numpy as np
    >>> import sipmask_core as sm
    >>> crop = sm.MaskCrop(x=8, y=4, bitmap=np.ones((2, 4), bool))
    >>> rows, columns = np.nonzero(crop.bitmap)
    >>> crop.x + int(columns.max()), crop.y + int(rows.max())  # its last pixel in the image
    (11, 5)
    """

    x: int
    y: int
    bitmap: NDArray[np.bool_]


def crop_of(mask: NDArray[Any]) -> MaskCrop:
    """Cut a whole mask (H, W), of which all but zero is object, to the rectangle that it fills."""
    bits = np.ascontiguousarray(mask, bool)
    x, y, w, h = cv2.boundingRect(bits.view(np.uint8)) if bits.size else (0, 0, 0, 0)
    if not w:
        x = y = 0
    return MaskCrop(x, y, bits[y : y + h, x : x + w].copy())


def encode(crops: Sequence[MaskCrop], image_size: tuple[int, int]) -> list[str]:
    """Encode masks at the image's size (H, W) to compressed counts like those of pycocotools."""
    differences = []
    for crop in crops:
        runs = run_lengths(crop, image_size)
        runs[3:] -= runs[1:-2].copy()
        differences.append(runs)
    return compress(differences)


def run_lengths(crop: MaskCrop, image_size: tuple[int, int]) -> NDArray[np.int64]:
    """Return the run lengths of one mask at the image's size (H, W)."""
    height, width = image_size
    x, y, bitmap = crop
    h, w = bitmap.shape
    changes = np.zeros(0, np.int64)
    if bitmap.size:
        # The columns in turn, with a background pixel before the first and after each.
        column = h + 1
        pixels = np.zeros(1 + w * column, np.uint8)
        cv2.transpose(bitmap.view(np.uint8), pixels[1:].reshape(w, column)[:, :h])
        changes = np.flatnonzero(pixels[1:] != pixels[:-1])
        changes += changes // column * (height - column) + (x * height + y)
        if h == height:  # runs go on from one column to the next
            ends, starts = changes[1:-1:2], changes[2::2]
            apart = np.repeat(ends != starts, 2)
            changes = np.concatenate((changes[:1], changes[1:-1][apart], changes[-1:]))
    total = height * width
    if len(changes) and changes[-1] == total:
        changes = changes[:-1]
    return np.diff(changes, prepend=0, append=total)


def compress(sequences: Sequence[NDArray[np.int64]]) -> list[str]:
    """Write each sequence of numbers as characters."""
    if not sequences:
        return []
    rest = np.concatenate(sequences)
    magnitude = rest ^ (rest >> 63)  # ~n for a negative n
    groups = np.ones(len(rest), np.int64)
    limit = 16
    while (longer := magnitude >= limit).any():
        groups += longer
        limit *= 32
    ends = np.cumsum(groups)
    characters = np.empty(ends[-1], np.uint8)
    place = ends - groups
    while len(rest):
        going_on = place + 1 < ends
        characters[place] = (rest & 31) + np.where(going_on, 32 + 48, 48)
        rest, place, ends = rest[going_on] >> 5, place[going_on] + 1, ends[going_on]
    text = characters.tobytes().decode("ascii")
    bounds = (np.cumsum(groups)[np.cumsum([len(s) for s in sequences]) - 1]).tolist()
    return [text[start:end] for start, end in zip([0, *bounds], bounds, strict=False)]
