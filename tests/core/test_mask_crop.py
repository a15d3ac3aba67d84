"""Run lengths from crops: the very strings that pycocotools makes of the full masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from sipmask_core.mask_crop import MaskCrop, encode, run_lengths

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _by_pycocotools(crop: MaskCrop, image_size: tuple[int, int]) -> str:
    full = np.zeros(image_size, np.uint8, order="F")
    h, w = crop.bitmap.shape
    full[crop.y : crop.y + h, crop.x : crop.x + w] = crop.bitmap
    return str(coco_mask.encode(full)["counts"].decode("ascii"))


@st.composite
def _crops_in_images(draw: st.DrawFn) -> tuple[MaskCrop, tuple[int, int]]:
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    y0, x0 = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    y1, x1 = draw(st.integers(y0 + 1, height)), draw(st.integers(x0 + 1, width))
    noise = np.random.default_rng(draw(st.integers(0, 99))).random((y1 - y0, x1 - x0))
    bitmap = noise < draw(st.sampled_from([0, 0.05, 0.5, 0.95, 1]))
    return MaskCrop(x0, y0, bitmap), (height, width)


@given(case=_crops_in_images())
@settings(max_examples=300, deadline=None)
def test_any_crop_gives_the_string_of_its_full_mask(
    case: tuple[MaskCrop, tuple[int, int]],
) -> None:
    crop, image_size = case
    assert encode([crop], image_size) == [_by_pycocotools(crop, image_size)]


def _full(*shape: int) -> NDArray[np.bool_]:
    return np.ones(shape, bool)


@pytest.mark.parametrize(
    ("crop", "expected"),
    [
        (MaskCrop(0, 0, _full(0, 0)), [24]),
        (MaskCrop(0, 0, _full(4, 6)), [0, 24]),
        (MaskCrop(2, 0, _full(4, 2)), [8, 8, 8]),  # columns without a gap are one run
        (MaskCrop(1, 1, _full(2, 2)), [5, 2, 2, 2, 13]),
        (MaskCrop(4, 2, _full(2, 2)), [18, 2, 2, 2]),  # nothing after the last pixel
    ],
)
def test_runs_go_down_the_columns_of_the_full_mask(crop: MaskCrop, expected: list[int]) -> None:
    assert run_lengths(crop, (4, 6)).tolist() == expected


def test_each_of_several_masks_has_its_own_string_however_large_the_image() -> None:
    rng = np.random.default_rng(0)
    size = (3000, 5000)
    crops = [MaskCrop(4000, 2000, rng.random((h, 40)) < 0.3) for h in (1, 90, 1000)]
    crops.insert(1, MaskCrop(0, 0, _full(0, 0)))
    assert encode(crops, size) == [_by_pycocotools(crop, size) for crop in crops]
    assert encode([], size) == []
