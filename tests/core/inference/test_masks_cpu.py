"""Masks computed on their crops, against masks computed on the whole canvas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sipmask_core.inference.masks_cpu import BAND, MaskGrid, SoftCrop, assemble, on_canvas, resize
from sipmask_core.model.masks import soft_masks

H, W, BASES = 24, 30, 4

coordinate = st.floats(-10, 45, width=32)
boxes = st.tuples(coordinate, coordinate, coordinate, coordinate)


@given(box=boxes, cells=st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_a_soft_crop_is_the_soft_mask_inside_its_box(
    box: tuple[float, float, float, float], cells: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(BASES, H, W, generator=generator)
    coefficients = torch.randn(1, cells * cells * BASES, generator=generator)
    crops = assemble(basis, coefficients, torch.tensor([box]), cells)
    whole = soft_masks(basis, coefficients, torch.tensor([box]), cells)
    torch.testing.assert_close(torch.from_numpy(on_canvas(crops, (H, W))), whole)


def test_how_maps_lie_in_memory_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(BASES, H, W, generator=generator)  # as onnxruntime gives them
    coefficients = torch.randn(1, 4 * BASES, generator=generator)
    box = torch.tensor([[2.0, 1, W / 2, H / 2]])
    channels_last = basis[None].contiguous(memory_format=torch.channels_last)[0]
    assert not channels_last.is_contiguous()
    crops = [assemble(maps, coefficients, box, 2)[0] for maps in (basis, channels_last)]
    assert np.array_equal(crops[0].values, crops[1].values)


@pytest.mark.parametrize("number", [1, 40])  # the boxes hold less than the canvas, and more
def test_maps_in_half_precision_are_computed_with_in_float32(number: int) -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(BASES, H, W, generator=generator).bfloat16()
    coefficients = torch.randn(number, 4 * BASES, generator=generator)
    box = torch.tensor([[2.0, 1, W / 2, H / 2]]).repeat(number, 1)
    crops = assemble(basis, coefficients, box, 2)
    whole = soft_masks(basis.float(), coefficients, box, 2)
    torch.testing.assert_close(torch.from_numpy(on_canvas(crops, (H, W))), whole)


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

    (crop,) = assemble(basis, coefficients.view(1, -1), torch.tensor([box]), 2)
    x, y, bitmap = resize(crop, MaskGrid((H, W), (H / size[0], W / size[1]), area), 0.4)
    actual = np.zeros(image, bool)
    actual[y : y + bitmap.shape[0], x : x + bitmap.shape[1]] = bitmap
    # A value within rounding of the threshold may fall on either side.
    near = np.zeros(image, bool)
    near[: area[0], : area[1]] = ((resized - 0.4).abs() < 1e-5)[: area[0], : area[1]].numpy()
    assert ((actual == expected) | near).all()


def test_a_large_mask_made_in_several_bands_has_no_seam() -> None:
    soft = torch.rand(1, 1, 80, 60, generator=torch.Generator().manual_seed(0))
    resized = F.interpolate(soft, scale_factor=8, mode="bilinear", align_corners=False)[0, 0]
    grid = MaskGrid((80, 60), (1 / 8, 1 / 8), (640, 480))
    x, y, bitmap = resize(SoftCrop(0, 0, soft[0, 0].numpy()), grid, 0.5)
    expected = (resized > 0.5).numpy()[y : y + bitmap.shape[0], x : x + bitmap.shape[1]]
    assert bitmap.shape[0] > 2 * BAND
    assert (bitmap != expected).mean() < 1e-5


def test_a_mask_beyond_the_area_is_empty() -> None:
    soft = SoftCrop(15, 15, np.ones((4, 4), np.float32))
    assert resize(soft, MaskGrid((20, 20), (1.0, 1.0), (10, 10)), 0.5).bitmap.size == 0


def test_a_mask_crop_is_as_small_as_the_mask() -> None:
    soft = np.zeros((10, 10), np.float32)
    soft[4:6, 3:8] = 1
    x, y, bitmap = resize(SoftCrop(2, 1, soft), MaskGrid((20, 20), (1.0, 1.0), (20, 20)), 0.5)
    assert (x, y, bitmap.shape) == (5, 5, (2, 5))
    assert bitmap.all()


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 9, 5, 5), (-9, -9, -2, -2), (40, 40, 50, 50)])
def test_a_box_without_pixels_gives_an_empty_mask(box: tuple[float, ...]) -> None:
    (crop,) = assemble(torch.rand(BASES, H, W), torch.rand(1, 4 * BASES), torch.tensor([box]), 2)
    assert resize(crop, MaskGrid((H, W), (0.5, 0.5), (48, 60)), 0.4).bitmap.size == 0
