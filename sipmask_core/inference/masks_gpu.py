"""Masks for inference on a GPU: the mask crops of `masks_cpu`, many of like size at a time.

However many masks there are, the host waits for the device only once. The boxes, whose sizes
decide the batches, are on the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sipmask_core.inference.masks_cpu import image_range, trim
from sipmask_core.model.masks import cell_bounds
from sipmask_core.runtime.devices import download, upload

if TYPE_CHECKING:
    from torch import Tensor

    from sipmask_core.inference.masks_cpu import MaskGrid
    from sipmask_core.mask_crop import MaskCrop

# A batch ends before a box with less than this part of the area of its largest box.
LIKE_AREA = 0.25
# Most basis pixels of a batch, padding included: 128 MB at 32 basis maps.
BATCH_PIXELS = 2**20


def cut_masks(
    basis: Tensor,
    coefficients: Tensor,
    boxes: Tensor,
    cells: int,
    grid: MaskGrid,
    threshold: float,
) -> list[MaskCrop]:
    """Compute the mask crops of N detections in image pixels.

    basis: (B, H, W); coefficients: (N, cells * cells * B); boxes: (N, 4) in basis pixels, on the
    CPU. Raises FloatingPointError if a mask is not finite.
    """
    device = basis.device
    maps = basis.permute(1, 2, 0).float()  # (H, W, B)
    weights = coefficients.float().view(len(boxes), cells * cells, -1)
    bounds = cell_bounds(boxes, grid.canvas, cells)  # (N, 2, cells + 1)
    ends = bounds[:, :, [0, -1]].tolist()
    sides = [[last - first for first, last in box] for box in ends]
    ranges = [
        [
            image_range(first, last, grid.canvas[axis], grid.ratio[axis], grid.area[axis])
            for (first, last), axis in zip(box, (1, 0), strict=True)
        ]
        for box in ends
    ]
    starts = upload(torch.tensor([[left, top] for (left, _), (top, _) in ranges]), device)
    bounds = upload(bounds, device)
    batches = _like_sizes(sides)
    parts, totals = [], []
    for batch in batches:
        members = upload(torch.tensor(batch), device)
        w, h = (max(sides[i][axis] for i in batch) for axis in (0, 1))
        soft, x, y = _assemble(maps, weights[members], bounds[members], (h, w))
        totals.append(soft.sum())
        width, height = (max(ranges[i][axis][1] for i in batch) for axis in (0, 1))
        across = _mixture(starts[members, 0], width, x, grid.canvas[1], grid.ratio[1])
        down = _mixture(starts[members, 1], height, y, grid.canvas[0], grid.ratio[0])
        parts.append(down @ soft @ across.transpose(1, 2) > threshold)  # (n, height, width)

    finite = torch.stack(totals).isfinite()
    are_finite, *bitmaps = download(finite, *parts)
    if not are_finite.all():
        raise FloatingPointError("Masks are not finite.")
    crops: dict[int, MaskCrop] = {}
    for batch, stack in zip(batches, bitmaps, strict=True):
        for index, bitmap in zip(batch, stack, strict=True):
            (left, width), (top, height) = ranges[index]
            crops[index] = trim(left, top, bitmap[:height, :width])
    return [crops[index] for index in range(len(boxes))]


def _like_sizes(sides: list[list[int]]) -> list[list[int]]:
    """Group the indices of boxes with these (width, height), largest first."""
    batches: list[list[int]] = []
    for index in sorted(range(len(sides)), key=lambda i: -sides[i][0] * sides[i][1]):
        if batches:
            batch = [*batches[-1], index]
            width, height = (max(sides[i][axis] for i in batch) for axis in (0, 1))
            first = sides[batch[0]]
            like = sides[index][0] * sides[index][1] >= LIKE_AREA * first[0] * first[1]
            if like and len(batch) * width * height <= BATCH_PIXELS:
                batches[-1] = batch
                continue
        batches.append([index])
    return batches


def _assemble(
    maps: Tensor, weights: Tensor, bounds: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return soft masks (n, h, w), zero outside their boxes, and their pixels' x (n, w), y (n, h).

    maps: (H, W, B); weights: (n, cells^2, B); bounds: (n, 2, cells + 1); size: (h, w).
    """
    cells = bounds.shape[2] - 1
    pixels, cell, inside = [], [], []
    for axis, length in ((0, size[1]), (1, size[0])):
        edges = bounds[:, axis]
        pixel = edges[:, :1] + torch.arange(length, device=maps.device)  # (n, length)
        pixels.append(pixel)
        cell.append((pixel[:, :, None] >= edges[:, None, 1:cells]).sum(dim=2))
        inside.append(pixel < edges[:, -1:])
    x, y = pixels
    rows, columns = y.clamp(max=maps.shape[0] - 1), x.clamp(max=maps.shape[1] - 1)
    patches = maps[rows[:, :, None], columns[:, None, :]]  # (n, h, w, B)
    logits = patches.flatten(1, 2) @ weights.transpose(1, 2)  # (n, h * w, cells^2)
    which = cell[1][:, :, None] * cells + cell[0][:, None, :]  # (n, h, w)
    logits = logits.gather(2, which.flatten(1)[:, :, None]).view(which.shape)
    return logits.sigmoid() * (inside[1][:, :, None] & inside[0][:, None, :]), x, y


def _mixture(start: Tensor, length: int, pixels: Tensor, source: int, ratio: float) -> Tensor:
    """Return how `length` image pixels from each start (n,) on mix basis pixels (n, m).

    (n, length, m) weights; source, ratio: as for `masks_cpu._axis`.
    """
    image = start[:, None] + torch.arange(length, device=start.device)
    position = ((image.float() + 0.5) * ratio - 0.5).clamp(0, source - 1)
    return (1 - (position[:, :, None] - pixels[:, None, :]).abs()).clamp_(min=0)
