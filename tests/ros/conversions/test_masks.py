import cv2
import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from sipmask_core.errors import InputError
from sipmask_core.instances import Instances
from sipmask_ros.conversions.masks import (
    MOST_CLASSES,
    confidence,
    covered,
    label_image,
    label_mask,
)

SIZE = 12, 16


def mask(y0, y1, x0, x1):
    canvas = np.zeros(SIZE, bool)
    canvas[y0:y1, x0:x1] = True
    return canvas


FRONT, BEHIND = mask(2, 7, 3, 9), mask(4, 10, 6, 14)
FRONT[4, 4] = False  # a hole


def two(labels=(5, 0), scores=(0.8, 0.2)):
    return Instances.from_masks([FRONT, BEHIND], scores, labels)


def test_the_better_instance_counts_where_two_overlap():
    front, behind = FRONT, BEHIND & ~FRONT
    for image, (first, second) in (
        (label_image(two()), (1, 2)),
        (label_mask(two()), (6, 1)),
        (confidence(two()), (204, 51)),
    ):
        assert np.array_equal(image, first * front + second * behind)
    assert label_image(two()).dtype == np.uint16
    assert label_mask(two()).dtype == confidence(two()).dtype == np.uint8


def test_an_instance_of_whatever_score_differs_from_nothing():
    found = confidence(two(scores=(1.0, 0.0005)))
    assert set(found[FRONT]) == {255}
    assert set(found[BEHIND & ~FRONT]) == {1}


def test_nothing_seen_is_an_image_of_zeros():
    for make in (label_image, label_mask, confidence, covered):
        assert not make(Instances.empty(SIZE)).any()
        assert make(Instances.empty(SIZE)).shape == SIZE


def test_a_class_that_8_bits_cannot_name_is_refused_rather_than_left_out():
    assert label_mask(two(labels=(MOST_CLASSES - 1, 0))).max() == 254
    with pytest.raises(InputError, match="of class 254; a label mask has 8 bits and names"):
        label_mask(two(labels=(MOST_CLASSES, 0)))


@pytest.mark.parametrize(
    ("labels", "shown"), [((), FRONT | BEHIND), ((5,), FRONT), ((0, 7), BEHIND), ((7,), FRONT & 0)]
)
def test_masks_of_the_chosen_classes_are_covered(labels, shown):
    assert np.array_equal(covered(two(), labels), 255 * shown.astype(np.uint8))


@pytest.mark.parametrize("margin", [1, 3, 200])
def test_the_margin_is_added_to_all_sides_up_to_the_edge_of_the_image(margin):
    y, x = np.nonzero(FRONT)
    rows, columns = np.indices(SIZE)
    distance = np.maximum(abs(rows[..., None] - y), abs(columns[..., None] - x)).min(-1)
    assert np.array_equal(covered(two(), (5,), margin) == 255, distance <= margin)


def test_a_margin_does_not_bring_back_what_is_not_chosen():
    assert cv2.countNonZero(covered(two(), (7,), 3)) == 0
