"""The spatial preservation module: basis maps x coefficients -> masks, split by sub-region.

Paper, section 3.1: the box is cut into k x k cells and each cell of the mask is the sigmoid of the
basis maps combined by that cell's own coefficients. All boxes here are in pixels of the basis maps
(network pixels / 2); a basis pixel (x, y) belongs to a box iff x0 <= x < x1 and y0 <= y < y1.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Keeps the last pixel of a box in the last cell.
CELL_MARGIN = 0.1


def split_cells(low: Tensor, high: Tensor, length: int, cells: int) -> Tensor:
    """Return which cell of each box every pixel of an axis falls in: (..., length) int64.

    low, high: (...), where the boxes begin and end. -1 outside the box. The divisor is computed in
    double and rounded to float32, as in the authors' kernel.
    """
    pixel = torch.arange(length, device=low.device, dtype=torch.float32)
    low, high = low.float()[..., None], high.float()[..., None]
    cell_size = (((high - low).double() + CELL_MARGIN) / cells).float()
    cell = ((pixel - low) / cell_size).long()  # truncates
    return torch.where((pixel >= low) & (pixel < high), cell, -1)


def cell_bounds(boxes: Tensor, canvas: tuple[int, int], cells: int) -> Tensor:
    """Return where the cells of boxes (N, 4) begin and, last, where the boxes end.

    (N, 2, cells + 1) int64, for x and y, within the canvas (H, W); a cell without pixels ends where
    it begins.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    cell = split_cells(low, high, max(canvas), cells)  # (N, 2, length)
    start = low.float().ceil().clamp(min=0).long()
    inside = cell >= 0
    before = [(inside & (cell < k)).sum(dim=2) for k in range(1, cells)]
    bounds = torch.stack([start, *(start + n for n in before), start + inside.sum(dim=2)], dim=2)
    bounds[:, 0].clamp_(max=canvas[1])
    bounds[:, 1].clamp_(max=canvas[0])
    return bounds


def mask_logits(
    basis: Tensor, coefficients: Tensor, boxes: Tensor, cells: int
) -> tuple[Tensor, Tensor]:
    """Compute mask logits on the whole basis canvas, differentiable; the form for training.

    basis: (B, H, W); coefficients: (N, cells * cells * B); boxes: (N, 4) in basis pixels.
    Returns logits (N, H, W), zero outside the boxes, and which pixels are inside (N, H, W) bool.
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
    """Compute soft masks (N, H, W) in [0, 1] on the basis canvas, zero outside the boxes."""
    logits, inside = mask_logits(basis, coefficients, boxes, cells)
    return logits.sigmoid() * inside
