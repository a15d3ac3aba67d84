"""Sampled mask IoU: near the exact one, and equal to it if that is 0 or 1."""

import numpy as np
import pytest

import sipmask_core as sm
from sipmask_core.tracking.mask_overlap import sample_masks, sampled_iou

SIZE = (240, 320)


def ellipse(x, y, w, h):
    rows, columns = np.ogrid[0:h, 0:w]
    inside = ((rows + 0.5) / h - 0.5) ** 2 + ((columns + 0.5) / w - 0.5) ** 2 <= 0.25
    return sm.MaskCrop(x, y, inside)


def full(crop):
    canvas = np.zeros(SIZE, bool)
    canvas[crop.y : crop.y + crop.bitmap.shape[0], crop.x : crop.x + crop.bitmap.shape[1]] = (
        crop.bitmap
    )
    return canvas


def test_the_iou_is_near_that_of_all_pixels():
    rng = np.random.default_rng(0)
    crops = [
        ellipse(int(x), int(y), int(w), int(h))
        for x, y, w, h in zip(
            rng.integers(0, 200, 12),
            rng.integers(0, 120, 12),
            rng.integers(60, 120, 12),
            rng.integers(60, 120, 12),
            strict=True,
        )
    ]
    masks = np.stack([full(crop) for crop in crops]).reshape(12, -1).astype(float)
    common = masks @ masks.T
    exact = common / (masks.sum(1)[:, None] + masks.sum(1) - common)
    samples = sample_masks(crops, SIZE)
    sampled = sampled_iou(samples, samples, otherwise=np.full((12, 12), np.nan, np.float32))
    assert np.abs(sampled - exact).max() < 0.06
    assert np.allclose(np.diag(sampled), 1)


@pytest.mark.parametrize("shift", [(0, 0), (8, -12), (-3, 5), (-400, 0), (0, 400), (35, 155)])
def test_a_moved_mask_is_the_mask_at_another_place_cut_at_the_image(shift):
    crop = ellipse(20, 30, 90, 70)
    moved = sample_masks([crop], SIZE, np.array([shift], np.float32))[0]
    step = 4
    expected = np.zeros((SIZE[0] // step, SIZE[1] // step))
    for row, y in enumerate(range(0, SIZE[0], step)):
        for column, x in enumerate(range(0, SIZE[1], step)):
            v, u = y - crop.y - shift[1], x - crop.x - shift[0]
            if 0 <= v < 70 and 0 <= u < 90:
                expected[row, column] = crop.bitmap[v, u]
    assert np.array_equal(moved, expected.ravel())


def test_masks_of_few_samples_are_left_to_the_other_measure():
    crops = [ellipse(0, 0, 8, 8), ellipse(0, 0, 80, 80), sm.MaskCrop(0, 0, np.zeros((0, 0), bool))]
    samples = sample_masks(crops, SIZE)
    otherwise = np.full((3, 3), 0.25, np.float32)
    iou = sampled_iou(samples, samples, otherwise)
    assert iou[1, 1] == 1
    iou[1, 1] = 0.25
    assert np.array_equal(iou, otherwise)


def test_no_mask_gives_no_samples():
    samples = sample_masks([], SIZE)
    assert samples.shape == (0, 60 * 80)
    assert sampled_iou(samples, samples, np.zeros((0, 0), np.float32)).shape == (0, 0)
