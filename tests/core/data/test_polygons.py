import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sipmask_core.data import polygons
from sipmask_core.data.polygons import mask_polygons
from sipmask_core.data.shapes import merged_rle
from sipmask_core.mask_crop import MaskCrop

SIZE = (70, 90)


def drawn(crop):
    """Return the polygons of a mask as COCO draws them."""
    return coco_mask.decode(merged_rle(mask_polygons(crop), SIZE)).astype(bool)


def whole(crop):
    canvas = np.zeros(SIZE, bool)
    h, w = crop.bitmap.shape
    canvas[crop.y : crop.y + h, crop.x : crop.x + w] = crop.bitmap
    return canvas


def blobs(count):
    """Yield random masks from specks to smooth shapes with several parts and holes."""
    rng = np.random.default_rng(11)
    while count:
        h, w = rng.integers(1, 60, 2)
        noise = cv2.GaussianBlur(rng.normal(size=(h, w)), (0, 0), rng.uniform(0.3, 6))
        bitmap = noise.reshape(h, w) > 0.1 * rng.normal()
        if bitmap.any():
            count -= 1
            yield MaskCrop(int(rng.integers(0, 30)), int(rng.integers(0, 10)), bitmap)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_masks_of_any_shape_are_kept_to_an_iou_of_97_percent():
    assert min(iou(drawn(crop), whole(crop)) for crop in blobs(150)) >= 0.97


def test_without_tolerance_the_outlines_give_exactly_the_mask(monkeypatch):
    monkeypatch.setattr(polygons, "TOLERANCES", (0.0,))
    for crop in blobs(150):
        assert np.array_equal(drawn(crop), whole(crop))


def test_a_smooth_outline_has_few_corners():
    bitmap = np.zeros((60, 60), np.uint8)
    cv2.circle(bitmap, (30, 30), 25, 1, -1)
    (outline,) = mask_polygons(MaskCrop(4, 5, bitmap.astype(bool)))
    assert len(outline) // 2 <= 24


def test_a_hole_stays_a_hole_in_one_polygon():
    bitmap = np.ones((30, 30), bool)
    bitmap[10:20, 8:14] = bitmap[3:6, 20:25] = False
    crop = MaskCrop(7, 9, bitmap)
    assert len(mask_polygons(crop)) == 1
    assert iou(drawn(crop), whole(crop)) >= 0.97
    assert not drawn(crop)[9 + 12 : 9 + 18, 7 + 9 : 7 + 13].any()


def test_each_part_of_a_mask_is_a_polygon():
    bitmap = np.zeros((30, 30), bool)
    bitmap[:10, :10] = bitmap[20:, 20:] = True
    assert len(mask_polygons(MaskCrop(0, 0, bitmap))) == 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 12), (9, 1)])
def test_masks_one_pixel_wide_have_an_area(shape):
    crop = MaskCrop(3, 2, np.ones(shape, bool))
    assert np.array_equal(drawn(crop), whole(crop))


def test_an_empty_mask_has_no_polygons():
    assert mask_polygons(MaskCrop(0, 0, np.zeros((0, 0), bool))) == []
    assert mask_polygons(MaskCrop(0, 0, np.zeros((3, 3), bool))) == []
