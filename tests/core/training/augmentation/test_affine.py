import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import assert_whole, make_target, scenes

from sipmask_core.training.augmentation.affine import (
    Augmentation,
    paste,
    random_colour_table,
    random_placement,
    recolour,
    seen_again,
    warp,
)
from sipmask_core.training.augmentation.target import MIN_AREA, MIN_SIDE, Canvas, mask_bounds

INPUT = (96, 64)
FILL = (1, 2, 3)
CANVAS = Canvas(INPUT, FILL, inclusive=False)


def generator(seed):
    return np.random.default_rng(seed)


def assert_consistent(image, target):
    assert_whole(image, target, INPUT)
    assert (np.abs(target["boxes"] - mask_bounds(target["masks"])) <= 1).all()
    assert (target["boxes"][:, 2:] - target["boxes"][:, :2] >= MIN_SIDE).all()
    assert (target["masks"].sum((1, 2)) >= MIN_AREA).all()


@given(scenes(), st.integers(0, 999), st.booleans())
@settings(max_examples=150, deadline=None)
def test_boxes_stay_around_their_masks_under_any_placement(scene, seed, keep_ratio):
    image, target = scene
    augmentation = Augmentation(scale=(0.4, 2.5), keep_ratio=keep_ratio)
    matrix = random_placement(generator(seed), image.shape[:2], INPUT, augmentation)
    assert_consistent(*warp(image, target, matrix, CANVAS))


@given(scenes(), st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_a_picture_seen_again_shows_the_same_objects_at_another_place(scene, seed):
    image, target = scene
    size = image.shape[:2]
    again, seen = seen_again(generator(seed), image, target, dataclasses.replace(CANVAS, size=None))
    assert_whole(again, seen, size)
    assert set(seen["ids"].tolist()) <= set(target["ids"].tolist())
    repeated, _ = seen_again(generator(seed), image, target, CANVAS)
    assert np.array_equal(again, repeated)


@given(scenes(), scenes(), st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_boxes_stay_around_their_masks_when_objects_are_pasted(first, second, seed):
    rng = generator(seed)
    placed = []
    for image, target in (first, second):
        matrix = random_placement(rng, image.shape[:2], INPUT, Augmentation())
        placed.append(warp(image, target, matrix, CANVAS))
    image, target = paste(*placed[0], *placed[1])
    assert_consistent(image, target)
    pasted = len(placed[1][1]["labels"])
    if pasted:
        assert np.array_equal(target["masks"][-pasted:], placed[1][1]["masks"])
        covered = placed[1][1]["masks"].any(0)
        assert not (target["masks"][:-pasted] & covered).any()
        assert np.array_equal(image[covered], placed[1][0][covered])


@given(scenes(), st.integers(0, 999))
@settings(max_examples=50, deadline=None)
def test_without_scaling_or_flip_every_object_stays_and_the_image_fits(scene, seed):
    image, target = scene
    still = Augmentation(scale=(1.0, 1.0), flip=0.0)
    matrix = random_placement(generator(seed), image.shape[:2], INPUT, still)
    corners = np.array([[0, 0], image.shape[1::-1]]) @ matrix[:, :2].T + matrix[:, 2]
    assert (corners > -1e-6).all() and (corners < np.array(INPUT[::-1]) + 1e-6).all()
    scale = matrix[0, 0]
    _, warped = warp(image, target, matrix, CANVAS)
    large = target["boxes"][:, 2:] - target["boxes"][:, :2] > 5 / scale
    assert set(target["labels"][large.all(1)]) <= set(warped["labels"])


def test_a_placement_that_changes_nothing_returns_the_same_pixels():
    rng = generator(0)
    image = rng.integers(0, 256, (*INPUT, 3), np.uint8)
    masks = np.zeros((1, *INPUT), np.uint8)
    masks[0, 10:50, 20:40] = 1
    target = make_target([20.25, 10.5, 40, 49.75], masks)
    still = Augmentation(scale=(1.0, 1.0), flip=0.0)
    warped, moved = warp(image, target, random_placement(rng, INPUT, INPUT, still), CANVAS)
    assert np.array_equal(warped, image)
    assert np.array_equal(moved["masks"], masks)
    assert np.array_equal(moved["boxes"], target["boxes"])


def test_a_flip_mirrors_image_masks_and_boxes():
    rng = generator(0)
    image = rng.integers(0, 256, (*INPUT, 3), np.uint8)
    masks = np.zeros((1, *INPUT), np.uint8)
    masks[0, 10:50, 20:30] = 1
    target = make_target([20, 10, 30, 50], masks, ignore=masks[0])
    mirror = Augmentation(scale=(1.0, 1.0), flip=1.0)
    warped, moved = warp(image, target, random_placement(rng, INPUT, INPUT, mirror), CANVAS)
    assert np.array_equal(warped, image[:, ::-1])
    assert np.array_equal(moved["masks"], masks[:, :, ::-1])
    assert np.array_equal(moved["ignore"], masks[0, :, ::-1])
    assert moved["boxes"].tolist() == [[34, 10, 44, 50]]


def test_what_the_image_does_not_cover_has_the_fill_colour():
    image = np.full((40, 40, 3), 200, np.uint8)
    target = make_target([], np.zeros((0, 40, 40)))
    half = np.array([[0.5, 0, 0], [0, 0.5, 0]])
    warped, _ = warp(image, target, half, CANVAS)
    assert (warped[:20, :20] == 200).all()
    assert (warped[21:] == FILL).all() and (warped[:, 21:] == FILL).all()


def test_an_object_outside_the_crop_is_dropped_with_its_label():
    image = np.zeros((*INPUT, 3), np.uint8)
    masks = np.zeros((2, *INPUT), np.uint8)
    masks[0, 0:20, 0:20] = 1
    masks[1, 70:90, 40:60] = 1
    target = make_target([[0, 0, 20, 20], [40, 70, 60, 90]], masks, labels=[5, 6])
    shift = np.array([[1.0, 0, -30], [0, 1, -30]])
    _, moved = warp(image, target, shift, CANVAS)
    assert moved["labels"].tolist() == [6]
    assert moved["ids"].tolist() == [101]
    assert moved["boxes"].tolist() == [[10, 40, 30, 60]]


def test_an_object_that_the_frame_cuts_keeps_the_box_of_its_visible_part():
    # An L: its foot reaches far right, but only the upright part remains in view.
    image = np.zeros((*INPUT, 3), np.uint8)
    masks = np.zeros((1, *INPUT), np.uint8)
    masks[0, 10:80, 5:15] = 1
    masks[0, 70:80, 5:60] = 1
    target = make_target([5, 10, 60, 80], masks)
    up = np.array([[1.0, 0, 0], [0, 1, 30]])  # rows from 66 on leave the canvas below
    _, moved = warp(image, target, up, CANVAS)
    x0, y0, x1, y1 = moved["boxes"][0]
    assert (x0, y0, y1) == (5, 40, 96)
    assert 15 <= x1 <= 16


@given(st.integers(0, 999))
def test_colours_change_within_their_bounds_and_by_the_seed_alone(seed):
    image = generator(1).integers(0, 256, (8, 8, 3), np.uint8)
    table = random_colour_table(generator(seed), Augmentation())
    assert table.shape == (256, 3) and table.dtype == np.uint8
    assert (table[:180, 0] < 180).all()
    changed = recolour(image, table)
    again = recolour(image, random_colour_table(generator(seed), Augmentation()))
    assert np.array_equal(changed, again)


def test_no_jitter_leaves_colours_as_hsv_rounds_them():
    still = dataclasses.replace(
        Augmentation(), brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0
    )
    table = random_colour_table(generator(0), still)
    assert np.array_equal(table[:180, 0], np.arange(180))
    assert np.array_equal(table[:, 1:], np.repeat(np.arange(256)[:, None], 2, axis=1))


def test_what_has_no_mask_is_not_pasted_but_may_be_hidden():
    masks = np.zeros((2, 40, 40), np.uint8)
    masks[0, 5:20, 5:20] = masks[1, 20:35, 20:35] = 1
    boxes = [[5, 5, 20, 20], [20, 20, 35, 35]]
    source = make_target(boxes, masks)
    source["has_mask"][1] = False
    white, black = np.full((40, 40, 3), 255, np.uint8), np.zeros((40, 40, 3), np.uint8)
    image, pasted = paste(black, make_target(boxes[1:], masks[1:], labels=[7]), white, source)
    assert pasted["labels"].tolist() == [7, 0]
    assert pasted["has_mask"].all() and len(pasted["uncertain"]) == 2
    assert (image[..., 0] > 0).sum() == 15 * 15
    beneath = make_target(boxes[:1], masks[:1], labels=[3])
    beneath["has_mask"][:] = False
    _, hidden = paste(black, beneath, white, source)
    assert hidden["labels"].tolist() == [0]
