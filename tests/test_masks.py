"""The spatial preservation module, against a per-pixel loop written from its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sipmask_core.masks import MaskGrid, mask_logits, paste, soft_mask_crop, soft_masks, split_cells

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

    x, y, crop = soft_mask_crop(basis, coefficients.view(-1, BASES), box, cells)
    canvas = torch.zeros(H, W)
    canvas[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    torch.testing.assert_close(canvas, expected)


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


@given(
    box=boxes,
    scale=st.floats(0.4, 3.0),
    image=st.tuples(st.integers(1, 90), st.integers(1, 90)),
)
@settings(max_examples=150, deadline=None)
def test_pasting_a_crop_equals_resizing_the_whole_canvas(
    box: tuple[float, float, float, float], scale: float, image: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(1)
    basis = torch.randn(BASES, H, W, generator=generator)
    coefficients = torch.randn(4, BASES, generator=generator)
    size = (max(1, math.floor(H * scale)), max(1, math.floor(W * scale)))
    canvas = soft_masks(basis, coefficients.view(1, -1), torch.tensor([box]), 2)
    resized = F.interpolate(canvas[None], size=size, mode="bilinear", align_corners=False)[0, 0]
    expected = np.zeros(image, bool)
    area = (min(image[0], size[0]), min(image[1], size[1]))
    expected[: area[0], : area[1]] = (resized > 0.4)[: area[0], : area[1]].numpy()

    crop = soft_mask_crop(basis, coefficients, box, 2)
    x, y, bitmap = paste(crop, MaskGrid((H, W), (H / size[0], W / size[1]), area), 0.4)
    actual = np.zeros(image, bool)
    actual[y : y + bitmap.shape[0], x : x + bitmap.shape[1]] = bitmap
    # A value within rounding of the threshold may fall on either side.
    near = np.zeros(image, bool)
    near[: area[0], : area[1]] = ((resized - 0.4).abs() < 1e-5)[: area[0], : area[1]].numpy()
    assert ((actual == expected) | near).all()


def test_a_mask_crop_is_as_small_as_the_mask() -> None:
    soft = torch.zeros(10, 10)
    soft[4:6, 3:8] = 1
    x, y, bitmap = paste((2, 1, soft), MaskGrid((20, 20), (1.0, 1.0), (20, 20)), 0.5)
    assert (x, y, bitmap.shape) == (5, 5, (2, 5))
    assert bitmap.all()


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 9, 5, 5), (-9, -9, -2, -2), (40, 40, 50, 50)])
def test_a_box_without_pixels_gives_an_empty_mask(box: tuple[float, ...]) -> None:
    crop = soft_mask_crop(torch.rand(BASES, H, W), torch.rand(4, BASES), box, 2)
    assert paste(crop, MaskGrid((H, W), (0.5, 0.5), (48, 60)), 0.4).bitmap.size == 0
