"""The spatial preservation module: basis maps x coefficients -> masks, split by sub-region.

Paper, section 3.1: the box is cut into k x k cells and each cell of the mask is the sigmoid of the
basis maps combined by that cell's own coefficients. All boxes here are in pixels of the basis maps
(network pixels / 2); a basis pixel (x, y) belongs to a box iff x0 <= x < x1 and y0 <= y < y1.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sipmask_core.instances import MaskCrop
from sipmask_core.model.head import BASIS_STRIDE
from sipmask_core.presets import Stretch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sipmask_core.presets import Preset

EMPTY = MaskCrop(0, 0, np.zeros((0, 0), bool))
# Keeps the last pixel of a box in the last cell.
CELL_MARGIN = 0.1


class MaskGrid(NamedTuple):
    """How the basis maps lie over an image.

    canvas: (H, W) of the basis maps. ratio: basis pixels per image pixel, (vertical, horizontal).
    area: the top left part (H, W) of the image that they reach; the authors' can fall short.
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
    """The grid of a preset: canvas (H, W), network pixels per image pixel (x, y), image (H, W).

    The authors resize the whole canvas to the floor of its size in image pixels, and the ratio is
    that of the rounded sizes. Both axes have one factor, the smaller, except with the 544 x 544
    presets, where factors are float32.
    """
    horizontal, vertical = scale
    if preset.authors:
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


def split_cells(low: Tensor, high: Tensor, length: int, cells: int) -> Tensor:
    """Which cell of its box each pixel of an axis falls in: (N,), (N,) -> (N, length) int64.

    -1 outside the box. The divisor is computed in double and rounded to float32, as the authors'
    kernel does.
    """
    pixel = torch.arange(length, device=low.device, dtype=torch.float32)
    low, high = low.float()[:, None], high.float()[:, None]
    cell_size = (((high - low).double() + CELL_MARGIN) / cells).float()
    cell = ((pixel - low) / cell_size).long()  # truncates
    return torch.where((pixel >= low) & (pixel < high), cell, -1)


def mask_logits(
    basis: Tensor, coefficients: Tensor, boxes: Tensor, cells: int
) -> tuple[Tensor, Tensor]:
    """Mask logits on the whole basis canvas, differentiable; the form for training.

    basis: (B, H, W); coefficients: (N, cells * cells * B); boxes: (N, 4) in basis pixels.
    Returns logits (N, H, W), zero outside the boxes, and the boxes' pixels (N, H, W) bool.
    """
    num_bases, height, width = basis.shape
    x0, y0, x1, y1 = boxes.unbind(1)
    column = split_cells(x0, x1, width, cells)[:, None, :]  # (N, 1, W)
    row = split_cells(y0, y1, height, cells)[:, :, None]  # (N, H, 1)
    inside = (row >= 0) & (column >= 0)  # (N, H, W)
    cell = (row * cells + column).clamp_(min=0)
    per_cell = coefficients.view(-1, num_bases) @ basis.flatten(1)  # (N * cells^2, H * W)
    per_cell = per_cell.view(-1, cells * cells, height, width)
    logits = per_cell.gather(1, cell[:, None])[:, 0]  # (N, H, W)
    return logits * inside, inside


def soft_masks(basis: Tensor, coefficients: Tensor, boxes: Tensor, cells: int) -> Tensor:
    """Soft masks (N, H, W) in [0, 1] on the whole basis canvas, zero outside the boxes."""
    logits, inside = mask_logits(basis, coefficients, boxes, cells)
    return logits.sigmoid() * inside


def soft_mask_crop(
    basis: Tensor, coefficients: Tensor, box: Sequence[float], cells: int
) -> tuple[int, int, Tensor]:
    """One soft mask, computed only inside its box: (x, y, (h, w)); the form for inference.

    basis: (B, H, W); coefficients: (cells * cells, B); box: 4 numbers in basis pixels. The same
    pixels and values as `soft_masks`, which computes every cell's map on the whole canvas.
    """
    _, height, width = basis.shape
    columns = _cell_ranges(box[0], box[2], width, cells)
    rows = _cell_ranges(box[1], box[3], height, cells)
    x, y = columns[0], rows[0]
    crop = basis.new_zeros(rows[-1] - y, columns[-1] - x, dtype=torch.float32)
    for r, (top, bottom) in enumerate(pairwise(rows)):
        for c, (left, right) in enumerate(pairwise(columns)):
            part = basis[:, top:bottom, left:right].float()
            logits = torch.tensordot(coefficients[r * cells + c], part, dims=1)
            crop[top - y : bottom - y, left - x : right - x] = logits.sigmoid()
    return x, y, crop


def _cell_ranges(low: float, high: float, length: int, cells: int) -> list[int]:
    """First pixel of each cell along an axis and, last, the end of the box, within [0, length]."""
    start, end = max(math.ceil(low), 0), min(math.ceil(high), length)
    end = max(end, start)
    low32 = np.float32(low)
    cell_size = np.float32((float(np.float32(high) - low32) + CELL_MARGIN) / cells)
    cell = ((np.arange(start, end, dtype=np.float32) - low32) / cell_size).astype(np.int64)
    return [start + int(np.searchsorted(cell, k)) for k in range(cells)] + [end]


def paste(
    crop: tuple[int, int, Tensor],
    grid: MaskGrid,
    threshold: float,
) -> MaskCrop:
    """A soft-mask crop -> the binary mask in image pixels.

    crop: (x, y, (h, w)) within a canvas that is zero elsewhere. Equal to resizing the whole canvas
    bilinearly (align_corners=False), keeping the grid's area and comparing with `threshold`, but
    computed only where the result can be non-zero.
    """
    x, y, soft = crop
    if soft.numel() == 0:
        return EMPTY
    height, width = soft.shape
    top, y_low, y_high, y_weight = _axis_samples(
        y, height, grid.canvas[0], grid.ratio[0], grid.area[0]
    )
    left, x_low, x_high, x_weight = _axis_samples(
        x, width, grid.canvas[1], grid.ratio[1], grid.area[1]
    )

    def tensor(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(soft.device)

    soft = F.pad(soft, (1, 1, 1, 1))
    soft = torch.lerp(soft[tensor(y_low)], soft[tensor(y_high)], tensor(y_weight)[:, None])
    soft = soft.t()  # (w + 2, out_h): the second gather is along rows, too
    soft = torch.lerp(soft[tensor(x_low)], soft[tensor(x_high)], tensor(x_weight)[:, None])
    return _trim(left, top, (soft > threshold).t().cpu().numpy())


def _axis_samples(
    start: int, length: int, source: int, ratio: float, limit: int
) -> tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Where along one axis the image pixels lie that a crop can reach.

    The crop covers `length` of the `source` basis pixels, from `start`; only image pixels below
    `limit` count. Returns the first image pixel and, for each one from there, the two samples to
    mix, as indices into the crop with one zero added at either end, and the weight of the second.
    """
    first = max(0, math.floor((start - 0.5) / ratio - 0.5))
    last = max(first, min(limit, math.ceil((start + length + 0.5) / ratio)))
    pixel = np.arange(first, last, dtype=np.float32)
    position = (pixel + np.float32(0.5)) * np.float32(ratio) - np.float32(0.5)
    position = np.maximum(position, 0)
    low = position.astype(np.int64)
    high = np.minimum(low + 1, source - 1)
    weight = position - low.astype(np.float32)
    ends = (0, length + 1)
    return first, np.clip(low - start + 1, *ends), np.clip(high - start + 1, *ends), weight


def _trim(x: int, y: int, bitmap: NDArray[np.bool_]) -> MaskCrop:
    """Cut empty rows and columns off."""
    rows = np.flatnonzero(bitmap.any(axis=1))
    if len(rows) == 0:
        return EMPTY
    columns = np.flatnonzero(bitmap.any(axis=0))
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    return MaskCrop(x + x0, y + y0, np.ascontiguousarray(bitmap[y0:y1, x0:x1]))
