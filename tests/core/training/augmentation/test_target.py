import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import assert_whole, make_target, scenes

from sipmask_core.training.augmentation.target import Canvas, chosen, finished, mirrored, visible


@given(scenes(), st.booleans())
@settings(max_examples=50, deadline=None)
def test_mirroring_twice_changes_nothing(scene, inclusive):
    image, target = scene
    image = image * np.linspace(0, 1, image.shape[1])[:, None]  # no two columns alike
    image = image.astype(np.uint8)
    once = mirrored(image, target, inclusive)
    again = mirrored(*once, inclusive)
    assert np.array_equal(again[0], image)
    assert all(np.array_equal(again[1][name], target[name]) for name in target)
    assert np.array_equal(once[0], image[:, ::-1])


def test_a_mirrored_box_surrounds_its_mirrored_mask():
    masks = np.zeros((1, 4, 10), np.uint8)
    masks[0, 1:3, 2:5] = 1
    image = np.zeros((4, 10, 3), np.uint8)
    _, moved = mirrored(image, make_target([2, 1, 5, 3], masks), inclusive=False)
    assert moved["boxes"].tolist() == [[5, 1, 8, 3]]
    _, moved = mirrored(image, make_target([2, 1, 4, 2], masks), inclusive=True)
    assert moved["boxes"].tolist() == [[5, 1, 7, 2]]
    assert moved["masks"][0, 1].nonzero()[0].tolist() == [5, 6, 7]


def test_a_choice_takes_all_of_an_object():
    masks = np.stack([np.full((4, 4), i, np.uint8) for i in range(3)])
    boxes = np.arange(12).reshape(3, 4)
    taken = chosen(make_target(boxes, masks), np.array([True, False, True]))
    assert taken["labels"].tolist() == [0, 2]
    assert taken["ids"].tolist() == [100, 102]
    assert taken["boxes"].tolist() == boxes[[0, 2]].tolist()
    assert taken["masks"][:, 0, 0].tolist() == [0, 2]


def test_only_what_can_be_seen_stays():
    masks = np.zeros((3, 20, 20), np.uint8)
    masks[0, 5:15, 5:15] = 1
    masks[1, 3:5, 3:5] = 1  # too small
    target = visible(make_target([[0, 5, 15, 15], [3, 3, 5, 5], [0, 0, 20, 20]], masks))
    assert target["labels"].tolist() == [0]
    assert target["boxes"].tolist() == [[4, 5, 15, 15]]  # within a pixel of the mask


def test_the_authors_keep_all_objects_and_end_boxes_on_the_last_pixel():
    canvas = Canvas(None, (0, 0, 0), inclusive=True)
    image = np.zeros((10, 20, 3), np.uint8)
    target = finished(make_target([[-3, -3, 30, 30], [5, 5, 6, 6]], np.zeros((2, 10, 20))), canvas)
    assert target["boxes"].tolist() == [[0, 0, 19, 9], [5, 5, 6, 6]]
    assert_whole(image, target, (10, 20))
