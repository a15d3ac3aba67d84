"""Masks for inference, each computed only where it can be: from basis maps to the image's pixels.

The pixels and values are those of `model.masks.soft_masks`, resized whole, but come in two steps on
small pieces: `assemble` makes the soft mask inside its box, `resize` brings it to image pixels.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch

from sipmask_core.mask_crop import MaskCrop
from sipmask_core.model.masks import cell_bounds
from sipmask_core.model.outputs import BASIS_STRIDE
from sipmask_core.model.presets import Stretch
from sipmask_core.runtime.devices import require_finite

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from sipmask_core.model.presets import Preset

EMPTY = MaskCrop(0, 0, np.zeros((0, 0), bool))
# Tables are cached for this many axes: sizes of images and canvases.
KEPT_AXES = 32
# Image rows interpolated together: few enough to stay in the processor's cache.
BAND = 256


class MaskGrid(NamedTuple):
    """How the basis maps lie over an image.

    canvas: (H, W) of the basis maps. ratio: basis pixels per image pixel, (vertical, horizontal).
    area: the top left part (H, W) of the image that they reach; with the authors' rounding it can
    be smaller than the image.
    """

    canvas: tuple[int, int]
    ratio: tuple[float, float]
    area: tuple[int, int]


def mask_grid(
    preset: Preset,
    canvas: tuple[int, int],
    scale: tuple[float, float],
    image_size: tuple[int, int],
) -> MaskGrid:
    """Compute the grid of a preset for a canvas (H, W) and an image (H, W).

    scale: network pixels per image pixel, (x, y). The authors resize the whole canvas to the floor
    of its size in image pixels, and the ratio is that of the rounded sizes. Both axes have one
    factor, the smaller, except in the 544 x 544 presets, whose factors are float32.
    """
    horizontal, vertical = scale
    if preset.floored_masks:
        stretched = isinstance(preset.resize, Stretch)
        if not stretched:
            horizontal = vertical = min(scale)
        precise = np.float32 if stretched else np.float64
        height, width = (
            max(1, math.floor(size * float(precise(BASIS_STRIDE) / precise(s))))
            for size, s in zip(canvas, (vertical, horizontal), strict=True)
        )
        ratio = (canvas[0] / height, canvas[1] / width)
    else:
        ratio = (vertical / BASIS_STRIDE, horizontal / BASIS_STRIDE)
    height, width = (
        min(limit, math.ceil(size / r - 1e-6))
        for limit, size, r in zip(image_size, canvas, ratio, strict=True)
    )
    return MaskGrid(canvas, ratio, (height, width))


class SoftCrop(NamedTuple):
    """A soft mask inside its box: values (h, w) float32, the first one at basis pixel (x, y)."""

    x: int
    y: int
    values: NDArray[np.float32]


def assemble(basis: Tensor, coefficients: Tensor, boxes: Tensor, cells: int) -> list[SoftCrop]:
    """Compute the soft masks of N detections.

    basis: (B, H, W); coefficients: (N, cells * cells * B);
    boxes: (N, 4) in basis pixels. All are on the CPU. Raises FloatingPointError if a mask is not
    finite.
    """
    num_bases, height, width = basis.shape
    bounds = cell_bounds(boxes, (height, width), cells).tolist()
    weights = coefficients.view(-1, cells, cells, num_bases).numpy()
    maps = basis.permute(1, 2, 0)  # (H, W, B)
    pixels = sum((x[-1] - x[0]) * (y[-1] - y[0]) for x, y in bounds)
    windows = [np.s_[y[0] : y[-1], x[0] : x[-1]] for x, y in bounds]
    inside: Iterable[NDArray[np.float32]]
    if maps.dtype == torch.float32 or pixels > height * width:
        whole = _bases_last(basis.float())
        inside = (whole[window] for window in windows)
    else:  # fewer pixels than the whole, and pieces of it stay in the processor's cache
        inside = (maps[window].float().numpy() for window in windows)
    crops = [_assemble_one(*one) for one in zip(inside, weights, bounds, strict=True)]
    require_finite(*(crop.values for crop in crops))
    return crops


def _bases_last(basis: Tensor) -> NDArray[np.float32]:
    """Return maps (B, H, W) float32 as (H, W, B), without gaps in memory."""
    if not basis.is_contiguous():
        return basis.permute(1, 2, 0).contiguous().numpy()
    # As onnxruntime gives them; OpenCV transposes ten times as fast as PyTorch.
    turned = cv2.transpose(basis.flatten(1).numpy())
    return np.asarray(turned, np.float32).reshape(*basis.shape[1:], len(basis))


def _assemble_one(
    inside: NDArray[np.float32],
    weights: NDArray[np.float32],
    bounds: tuple[Sequence[int], Sequence[int]],
) -> SoftCrop:
    """Compute the soft mask of one detection.

    inside: (h, w, B), the maps in the box; weights: (cells, cells, B); bounds: of the cells, in x
    and y.
    """
    columns, rows = bounds
    x, y = columns[0], rows[0]
    values = np.empty(inside.shape[:2], np.float32)
    for in_row, (top, bottom) in zip(weights, pairwise(rows), strict=True):
        for weight, (left, right) in zip(in_row, pairwise(columns), strict=True):
            cell = np.s_[top - y : bottom - y, left - x : right - x]
            values[cell] = inside[cell] @ weight
    torch.from_numpy(values).sigmoid_()
    return SoftCrop(x, y, values)


def on_canvas(crops: Sequence[SoftCrop], canvas: tuple[int, int]) -> NDArray[np.float32]:
    """Return soft masks (N, H, W) on the canvas (H, W), as `model.masks.soft_masks` gives them."""
    whole = np.zeros((len(crops), *canvas), np.float32)
    for plane, (x, y, values) in zip(whole, crops, strict=True):
        plane[y : y + values.shape[0], x : x + values.shape[1]] = values
    return whole


def resize(crop: SoftCrop, grid: MaskGrid, threshold: float) -> MaskCrop:
    """Compute the mask crop in image pixels.

    Equal to resizing the whole canvas bilinearly (align_corners=False), keeping the grid's area and
    comparing with `threshold`, but computed only where the result can be true.
    """
    height, width = crop.values.shape
    padded = np.zeros((width + 2, height + 2), np.float32)
    padded[1:-1, 1:-1] = crop.values.T
    # Between values at or below the threshold none exceeds it: only the others are resized.
    y, x, height, width = cv2.boundingRect((padded > threshold).view(np.uint8))
    around = padded[x - 1 : x + width + 1, y - 1 : y + height + 1]
    x, y = crop.x + x - 1, crop.y + y - 1
    left, low_x, weight_x = _reach(x, width, grid.canvas[1], grid.ratio[1], grid.area[1])
    top, low_y, weight_y = _reach(y, height, grid.canvas[0], grid.ratio[0], grid.area[0])
    if len(low_x) == 0 or len(low_y) == 0:
        return EMPTY
    wide = np.ascontiguousarray(_interpolate(around, low_x, weight_x).T)  # (height + 2, columns)
    bitmap = np.empty((len(low_y), len(low_x)), bool)
    for start in range(0, len(low_y), BAND):
        band = slice(start, start + BAND)
        np.greater(_interpolate(wide, low_y[band], weight_y[band]), threshold, out=bitmap[band])
    return trim(left, top, bitmap)


def trim(left: int, top: int, bitmap: NDArray[np.bool_]) -> MaskCrop:
    """Copy the mask whose first pixel is (left, top), without empty rows and columns around it."""
    x, y, width, height = cv2.boundingRect(bitmap.view(np.uint8)) if bitmap.size else (0, 0, 0, 0)
    if width == 0:
        return EMPTY
    return MaskCrop(left + x, top + y, bitmap[y : y + height, x : x + width].copy())


def _interpolate(
    rows: NDArray[np.float32], low: NDArray[np.int64], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Mix rows `low` (k,) of (n, m) with the ones after them, which have these weights: (k, m).

    Uses neither PyTorch nor a matrix product of NumPy: on a busy machine their threads wait for
    cores much longer than the whole takes.
    """
    # Subtract before repeating rows: there are fewer.
    first, last = low[0], low[-1] + 1
    result = (rows[first + 1 : last + 1] - rows[first:last]).take(low - first, axis=0)
    result *= weight[:, None]
    result += rows.take(low, axis=0)
    return result


def image_range(start: int, end: int, source: int, ratio: float, limit: int) -> tuple[int, int]:
    """Return the first and the number of an axis's image pixels to which basis pixels contribute.

    start, end: of the basis pixels; source, ratio, limit: as for `_axis`.
    """
    low, _ = _axis(source, ratio, limit)
    first, last = low.searchsorted((start - 1, end)).tolist() if end > start else (0, 0)
    return first, last - first


def _reach(
    start: int, length: int, source: int, ratio: float, limit: int
) -> tuple[int, NDArray[np.int64], NDArray[np.float32]]:
    """Find the image pixels of an axis to which `length` basis pixels from `start` on contribute.

    Returns the first one and, for each from there on, the basis pixel before it, counted from
    `start` - 1, and the weight of the one after. source, ratio, limit: as for `_axis`.
    """
    low, weight = _axis(source, ratio, limit)
    first, number = image_range(start, start + length, source, ratio, limit)
    where = slice(first, first + number)
    return first, low[where] - (start - 1), weight[where]


@lru_cache(KEPT_AXES)
def _axis(source: int, ratio: float, limit: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return between which basis pixels the `limit` image pixels of an axis lie.

    That is the lower one of the two and the weight of the other, which is 0 beyond the centre of
    the last basis pixel. source: number of basis pixels; ratio: basis pixels per image pixel.
    """
    pixel = np.arange(limit, dtype=np.float32)
    position = (pixel + np.float32(0.5)) * np.float32(ratio) - np.float32(0.5)
    position = np.maximum(position, 0)
    low = position.astype(np.int64)
    weight = np.where(low < source - 1, position - low.astype(np.float32), np.float32(0))
    return low, weight
