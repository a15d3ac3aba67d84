"""Overlays: what is painted, where, and in which colour."""

import numpy as np
import pytest

from sipmask_core.drawing import GREY, colour, contact_sheet, draw_instances
from sipmask_core.instances import Instances
from sipmask_core.mask_crop import MaskCrop

NAMES = ("person", "dog")


def make_instances(size, rectangles, track_ids=None, scores=None):
    """Return one instance per (x, y, w, h), its mask filling the rectangle."""
    n = len(rectangles)
    return Instances(
        boxes=np.array([(x, y, x + w, y + h) for x, y, w, h in rectangles], np.float32),
        scores=np.array(scores or np.linspace(0.9, 0.5, n), np.float32),
        labels=np.zeros(n, np.int64),
        mask_crops=[MaskCrop(x, y, np.ones((h, w), bool)) for x, y, w, h in rectangles],
        image_size=size,
        **({} if track_ids is None else {"track_ids": np.array(track_ids, np.int64)}),
    )


def plain(image, instances, **options):
    return draw_instances(image, instances, NAMES, contours=False, labels=False, **options)


def test_only_mask_pixels_change_and_the_input_stays():
    image = np.full((60, 80, 3), 100, np.uint8)
    picture = plain(image, make_instances((60, 80), [(10, 20, 30, 15)]))
    changed = (picture != 100).any(axis=2)
    expected = np.zeros((60, 80), bool)
    expected[20:35, 10:40] = True
    assert np.array_equal(changed, expected)
    assert (image == 100).all()


def test_the_tint_is_the_stated_blend():
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    picture = plain(image, make_instances((20, 20), [(0, 0, 20, 20)]), alpha=0.3)
    expected = image * 0.7 + np.array(colour(0)) * 0.3
    assert np.abs(picture - expected).max() <= 0.51


def test_holes_stay_clear_and_are_outlined():
    bitmap = np.ones((40, 40), bool)
    bitmap[10:30, 10:30] = False
    instances = Instances(
        np.array([[0, 0, 40, 40]], np.float32),
        np.array([0.9], np.float32),
        np.zeros(1, np.int64),
        [MaskCrop(0, 0, bitmap)],
        (40, 40),
    )
    image = np.zeros((40, 40, 3), np.uint8)
    assert not plain(image, instances)[15:25, 15:25].any()
    outlined = draw_instances(image, instances, NAMES, labels=False)
    assert tuple(outlined[9, 20]) == colour(0)
    assert not outlined[15:25, 15:25].any()


def test_the_colour_follows_the_track_id_not_the_order():
    image = np.zeros((40, 40, 3), np.uint8)
    rectangles = [(0, 0, 10, 10), (20, 20, 10, 10)]
    first = plain(image, make_instances((40, 40), rectangles, track_ids=[7, 3]), alpha=1.0)
    swapped = plain(image, make_instances((40, 40), rectangles[::-1], track_ids=[3, 7]), alpha=1.0)
    assert np.array_equal(first, swapped)
    assert tuple(first[5, 5]) == colour(7)


def test_what_is_not_tracked_can_have_a_colour_that_no_track_has():
    image = np.zeros((40, 40, 3), np.uint8)
    instances = make_instances((40, 40), [(0, 0, 10, 10), (20, 20, 10, 10)], track_ids=[1, -1])
    picture = plain(image, instances, alpha=1.0)
    assert tuple(picture[25, 25]) == colour(1) == tuple(picture[5, 5])
    picture = plain(image, instances, alpha=1.0, untracked=GREY)
    assert tuple(picture[25, 25]) == GREY != tuple(picture[5, 5])
    assert GREY not in {colour(identity) for identity in range(1000)}


def test_neighbouring_identities_differ_clearly():
    for identity in range(50):
        difference = np.abs(np.subtract(colour(identity), colour(identity + 1)))
        assert difference.max() > 80


def test_the_higher_score_lies_on_top():
    image = np.zeros((20, 20, 3), np.uint8)
    picture = plain(image, make_instances((20, 20), [(0, 0, 20, 20), (0, 0, 20, 20)]), alpha=1.0)
    assert tuple(picture[10, 10]) == colour(0)


@pytest.mark.parametrize("size", [(24, 32), (120, 160), (720, 1280)])
def test_labels_of_one_object_stay_inside_every_image_size(size):
    image = np.zeros((*size, 3), np.uint8)
    height, width = size
    corner = [(width - 5, height - 5, 5, 5)]
    picture = draw_instances(image, make_instances(size, corner), NAMES, contours=False)
    assert (picture[:, : width - 5] != 0).any(), "the label must be pushed back into the image"


def test_labels_of_overlapping_objects_do_not_cover_each_other():
    size = (400, 400)
    image = np.zeros((*size, 3), np.uint8)
    same = [(50, 100, 200, 200)] * 3
    picture = draw_instances(image, make_instances(size, same), NAMES, contours=False, alpha=0.0)
    for index in range(3):
        assert (picture == colour(index)).all(axis=2).sum() > 300


def test_an_empty_mask_and_no_instance_are_drawn_as_nothing():
    image = np.full((30, 30, 3), 9, np.uint8)
    instances = make_instances((30, 30), [(0, 0, 0, 0)])
    assert np.array_equal(draw_instances(image, instances, NAMES, labels=False), image)
    nothing = draw_instances(image, Instances.empty((30, 30)), NAMES)
    assert np.array_equal(nothing, image) and nothing is not image


def test_an_image_of_another_size_is_refused():
    with pytest.raises(ValueError, match="size"):
        draw_instances(np.zeros((10, 10, 3), np.uint8), Instances.empty((20, 20)), NAMES)


def test_a_contact_sheet_holds_every_image_in_reading_order():
    images = [np.full((50, 100, 3), 60 + 40 * i, np.uint8) for i in range(4)]
    sheet = contact_sheet(images, 3, cell_width=40, gap=2)
    assert sheet.shape == (2 * (20 + 2) + 2, 3 * (40 + 2) + 2, 3)
    centres = [sheet[12, 22], sheet[12, 64], sheet[12, 106], sheet[34, 22]]
    assert [int(c[0]) for c in centres] == [60, 100, 140, 180]


def test_a_contact_sheet_keeps_the_proportions_of_an_odd_image():
    images = [np.full((50, 100, 3), 200, np.uint8), np.full((100, 50, 3), 90, np.uint8)]
    sheet = contact_sheet(images, 2, cell_width=80, gap=0)
    assert (sheet[:, 80:] == 90).all(axis=2).sum() == 40 * 20


def test_a_sheet_without_images_is_refused():
    with pytest.raises(ValueError, match="needs an image"):
        contact_sheet([], 3)
