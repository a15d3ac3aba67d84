import dataclasses

import numpy as np
import pytest
from coco_squares import tiny_model, write_squares

from sipmask_core.data.coco import read_annotated_image, read_annotations
from sipmask_core.training.validation import DRAWN_IMAGES, Validation, ground_truth


@pytest.fixture
def squares(tmp_path):
    path, images = write_squares(tmp_path)
    return read_annotations(path), images


def test_ground_truth_covers_what_is_annotated(squares):
    annotations, images = squares
    instances = ground_truth(annotations.images[0])
    bright = read_annotated_image(images, annotations.images[0])[..., 2] > 200
    assert instances.masks.shape == (1, 80, 80)
    assert (instances.masks[0] == bright).mean() > 0.98
    x0, y0, x1, y1 = instances.boxes[0]
    assert (x1 - x0) * (y1 - y0) == pytest.approx(bright.sum())
    assert len(ground_truth(annotations.images[5])) == 0


def test_crowds_are_not_drawn(squares):
    annotations, _ = squares
    record = annotations.images[0]
    crowd = dataclasses.replace(record.objects[0], is_crowd=True)
    assert len(ground_truth(dataclasses.replace(record, objects=(crowd,)))) == 0


@pytest.mark.parametrize("count", [1, 6])
def test_the_sheet_shows_truth_beside_prediction(squares, count):
    annotations, images = squares
    few = dataclasses.replace(annotations, images=annotations.images[:count])
    sheet = Validation(few, images, "cpu").draw(tiny_model())
    assert sheet.dtype == np.uint8 and sheet.ndim == 3
    rows = -(-min(count, DRAWN_IMAGES) * 2 // 4)
    assert sheet.shape[0] == rows * (480 + 6) + 6
