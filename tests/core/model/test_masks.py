"""The spatial preservation module, against a per-pixel loop written from its definition."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sipmask_core.model.masks import cell_bounds, mask_logits, soft_masks, split_cells

H, W, BASES = 24, 30, 4


def _cell(pixel: int, low: float, high: float, cells: int) -> int:
    low32, high32 = np.float32(low), np.float32(high)
    if not low32 <= pixel < high32:
        return -1
    size = np.float32((float(high32 - low32) + 0.1) / cells)
    return int(np.float32(pixel - low32) / size)


coordinate = st.floats(-10, 45, width=32)
boxes = st.tuples(coordinate, coordinate, coordinate, coordinate)


@given(box=boxes, cells=st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_each_pixel_uses_the_coefficients_of_its_cell(
    box: tuple[float, float, float, float], cells: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(BASES, H, W, generator=generator)
    coefficients = torch.randn(1, cells * cells * BASES, generator=generator)
    soft = soft_masks(basis, coefficients, torch.tensor([box]), cells)[0]
    per_cell = (coefficients.view(-1, BASES) @ basis.flatten(1)).view(-1, H, W).sigmoid()
    expected = torch.zeros(H, W)
    for y in range(H):
        for x in range(W):
            row, column = _cell(y, box[1], box[3], cells), _cell(x, box[0], box[2], cells)
            if row >= 0 and column >= 0:
                expected[y, x] = per_cell[row * cells + column, y, x]
    torch.testing.assert_close(soft, expected)


@given(box=boxes, cells=st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_cells_begin_and_end_where_their_pixels_do(
    box: tuple[float, float, float, float], cells: int
) -> None:
    bounds = cell_bounds(torch.tensor([box]), (H, W), cells)[0]
    for axis, length in enumerate((W, H)):
        expected = torch.full((length,), -1)
        for cell, (start, end) in enumerate(pairwise(bounds[axis].tolist())):
            expected[start:end] = cell
        low, high = torch.tensor([box[axis]]), torch.tensor([box[axis + 2]])
        assert split_cells(low, high, length, cells)[0].tolist() == expected.tolist()
        assert 0 <= bounds[axis][0] <= bounds[axis][-1] <= length


def test_no_pixel_falls_in_a_cell_beyond_the_last() -> None:
    low = torch.rand(1000) * 20
    cells = split_cells(low, low + torch.rand(1000) * 30, 60, 2)
    assert cells.max() == 1
    assert cells.min() == -1


def test_the_gradient_reaches_only_the_selected_cell() -> None:
    basis = torch.rand(BASES, 8, 8)
    coefficients = torch.zeros(1, 4 * BASES, requires_grad=True)
    logits, _ = mask_logits(basis, coefficients, torch.tensor([[0.0, 0, 8, 8]]), 2)
    logits[0, :4, :4].sum().backward()
    assert coefficients.grad is not None
    gradient = coefficients.grad.view(4, BASES)
    assert (gradient[0] > 0).all()
    assert (gradient[1:] == 0).all()
