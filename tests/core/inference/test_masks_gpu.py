"""Masks made in batches equal those made one by one, and the host does not wait for each."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sipmask_core.inference.masks_cpu import MaskGrid, assemble, resize
from sipmask_core.inference.masks_gpu import BATCH_PIXELS, _like_sizes, cut_masks

DEVICES = ("cpu", pytest.param("cuda", marks=pytest.mark.cuda))
GRIDS = (
    MaskGrid((40, 64), (0.125, 0.125), (300, 512)),
    MaskGrid((40, 64), (40 / 111, 64 / 90), (100, 90)),  # the area falls short
)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("cells", [1, 2, 3])
def test_batches_equal_one_mask_after_the_other(grid: MaskGrid, cells: int, device: str) -> None:
    generator = torch.Generator().manual_seed(cells)
    basis = torch.randn(8, *grid.canvas, generator=generator)
    coefficients = torch.randn(30, cells * cells * 8, generator=generator)
    corners = torch.rand(30, 2, 2, generator=generator) * torch.tensor([70.0, 46]) - 3
    boxes = corners.sort(dim=1).values.flatten(1)
    boxes[4] = torch.tensor([5.0, 5, 5, 9])  # without pixels
    expected = [resize(c, grid, 0.5) for c in assemble(basis, coefficients, boxes, cells)]
    batched = cut_masks(basis.to(device), coefficients.to(device), boxes, cells, grid, 0.5)
    assert len(batched) == 30
    assert batched[4].bitmap.size == 0
    for ours, theirs in zip(batched, expected, strict=True):
        whole = np.zeros((2, *grid.area), bool)
        for plane, (x, y, bitmap) in zip(whole, (ours, theirs), strict=True):
            plane[y : y + bitmap.shape[0], x : x + bitmap.shape[1]] = bitmap
        assert (whole[0] & whole[1]).sum() >= 0.999 * (whole[0] | whole[1]).sum()


def test_a_batch_is_of_like_sizes_and_bounded() -> None:
    sides = [[8, 8], [512, 512], [7, 9], [512, 500], [500, 512], [512, 512], [511, 511], [0, 0]]
    batches = _like_sizes(sides)
    assert sorted(index for batch in batches for index in batch) == list(range(len(sides)))
    assert [0, 2] in [sorted(batch) for batch in batches]
    assert [7] in batches
    for batch in batches:
        width, height = (max(sides[i][axis] for i in batch) for axis in (0, 1))
        assert len(batch) * width * height <= BATCH_PIXELS
