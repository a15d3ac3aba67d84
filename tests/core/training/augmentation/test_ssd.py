import dataclasses

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import assert_whole, make_target, scenes
from torchvision import tv_tensors
from torchvision.transforms import v2

from sipmask_core.training.augmentation.ssd import (
    Colours,
    SsdAugmentation,
    Window,
    cut,
    random_colours,
    random_crop,
    random_expansion,
    recolour,
)
from sipmask_core.training.augmentation.target import Canvas, mask_bounds

OURS = Canvas((96, 128), (9, 8, 7), inclusive=False)
THEIRS = dataclasses.replace(OURS, inclusive=True)
DEFAULT = SsdAugmentation()


def generator(seed):
    return np.random.default_rng(seed)


def augmented(scene, seed, canvas=OURS, augmentation=DEFAULT):
    image, target = scene
    view = augmentation.view(generator(seed), image.shape[:2], target["boxes"], canvas)
    return view(image, target)


@given(scenes(), st.integers(0, 999))
@settings(max_examples=150, deadline=None)
def test_boxes_stay_around_their_masks_under_any_crop(scene, seed):
    image, target = augmented(scene, seed)
    assert_whole(image, target, OURS.size)
    assert (np.abs(target["boxes"] - mask_bounds(target["masks"])) <= 1).all()


@given(scenes(), st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_objects_of_the_authors_presets_have_their_centre_in_the_crop(scene, seed):
    image, target = augmented(scene, seed, THEIRS)
    assert_whole(image, target, THEIRS.size)
    assert (target["boxes"] <= [127, 95, 127, 95]).all()
    assert bool(len(scene[1]["labels"])) == bool(len(target["labels"]))


@given(scenes(), st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_the_seed_alone_decides(scene, seed):
    first, again = augmented(scene, seed), augmented(scene, seed)
    assert np.array_equal(first[0], again[0])
    assert all(np.array_equal(first[1][name], again[1][name]) for name in first[1])


@given(scenes(), st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_crops_keep_to_their_rules(scene, seed):
    image, target = scene
    h, w = image.shape[:2]
    strict = dataclasses.replace(DEFAULT, min_ious=(0.1,))
    crop = random_crop(generator(seed), (h, w), target["boxes"], strict)
    if crop is not None:
        assert crop.left >= 0 and crop.top >= 0 and crop.right <= w and crop.bottom <= h
        assert crop.size[0] >= int(0.3 * h) and crop.size[1] >= int(0.3 * w)
        assert 0.4 < crop.size[0] / crop.size[1] < 2.5  # 0.5 to 2 before rounding
        if len(target["boxes"]):
            assert crop.holds_centres(target["boxes"]).any()


def test_a_required_overlap_holds_for_every_object():
    boxes = np.float32([[0, 0, 40, 40], [50, 50, 100, 100]])
    augmentation = dataclasses.replace(DEFAULT, min_ious=(0.1,) * 98)  # "any" is 1 in 100
    crops = [random_crop(generator(seed), (100, 100), boxes, augmentation) for seed in range(100)]
    crops = [crop for crop in crops if crop is not None]
    assert sum(crop.overlaps(boxes).min() >= 0.1 for crop in crops) >= len(crops) - 4 > 80


def test_every_choice_of_crop_is_as_likely_as_the_others():
    # One object fills the image, so that every overlap can be had: one in seven is no crop.
    boxes = np.float32([[0, 0, 100, 100]])
    crops = [random_crop(generator(seed), (100, 100), boxes, DEFAULT) for seed in range(700)]
    whole = sum(crop is None for crop in crops)
    assert 70 < whole < 180  # 100 to 140: a required 0.9 often fails and is drawn again
    overlaps = np.array([crop.overlaps(boxes)[0] for crop in crops if crop is not None])
    assert overlaps.min() < 0.3 and overlaps.max() >= 0.9


def test_overlaps_are_those_of_the_definition():
    window = Window(0, 0, 10, 10)
    boxes = np.float32([[5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 10, 10]])
    assert np.allclose(window.overlaps(boxes), [1 / 3, 0, 1])


def test_half_of_the_canvases_grow_up_to_four_times_with_the_image_inside():
    drawn = [random_expansion(generator(seed), (60, 80), DEFAULT) for seed in range(400)]
    grown = [(size, offset) for size, offset in drawn if size != (60, 80)]
    assert 160 < len(grown) < 240
    ratios = np.array([size[0] / 60 for size, _ in grown])
    assert ratios.max() <= 4 and ratios.max() > 3.8 and abs(ratios.mean() - 2.5) < 0.2
    for (height, width), (left, top) in grown:
        assert 0 <= left <= width - 79 and 0 <= top <= height - 59


def test_what_the_image_does_not_cover_has_the_fill_colour():
    image = np.full((20, 20, 3), 200, np.uint8)
    target = make_target([], np.zeros((0, 20, 20)), ignore=np.ones((20, 20), np.uint8))
    shown, moved = cut(image, target, Window(-20, 0, 20, 20), (96, 128), OURS)
    assert (shown[:, :62] == (9, 8, 7)).all() and (shown[:, 66:] == 200).all()
    assert not moved["ignore"][:, :64].any() and moved["ignore"][:, 64:].all()


@given(scenes(largest=60), st.data())
@settings(max_examples=60, deadline=None)
def test_a_crop_is_where_torchvision_puts_it(scene, data):
    image, target = scene
    h, w = image.shape[:2]
    left, top = data.draw(st.integers(0, w - 10)), data.draw(st.integers(0, h - 10))
    right, bottom = data.draw(st.integers(left + 10, w)), data.draw(st.integers(top + 10, h))
    window = Window(left, top, right, bottom)
    size = (64, 128)  # powers of two, for torchvision finds the nearest pixel with float32 ratios
    steps = [
        lambda x: v2.functional.crop(x, top, left, *window.size),
        v2.Resize(size, v2.InterpolationMode.NEAREST, antialias=False),
    ]
    masks = tv_tensors.Mask(torch.from_numpy(target["masks"]))
    boxes = tv_tensors.BoundingBoxes(
        torch.from_numpy(target["boxes"]) - torch.tensor([0, 0, 1, 1]),
        format="XYXY",
        canvas_size=(h, w),
    )
    for step in steps:
        masks, boxes = step(masks), step(boxes)
    _, ours = cut(image, target, window, size, THEIRS)
    assert np.array_equal(ours["masks"], masks.numpy())
    inside = window.holds_centres(target["boxes"])
    expected = boxes.numpy().clip(0, [127, 63, 127, 63])
    assert np.allclose(ours["boxes"][inside], expected[inside], atol=1e-2)


def test_no_change_of_colours_changes_no_pixel():
    image = generator(0).integers(0, 256, (30, 40, 3), np.uint8)
    assert np.array_equal(recolour(image, Colours()), image)
    # Through hue and saturation and back, within rounding.
    for hue in (-360.0, 359.999, -0.001):
        there_and_back = recolour(image, Colours(hue=hue, saturation=0.99999))
        assert np.abs(there_and_back.astype(int) - image).max() <= 1


def test_colours_change_as_they_are_told():
    image = np.uint8([[[10, 100, 250]]])
    assert recolour(image, Colours(brightness=20)).tolist() == [[[30, 120, 255]]]
    assert recolour(image, Colours(contrast_before=0.5)).tolist() == [[[5, 50, 125]]]
    assert recolour(image, Colours(contrast_after=1.5)).tolist() == [[[15, 150, 255]]]
    assert recolour(image, Colours(channels=(2, 0, 1))).tolist() == [[[250, 10, 100]]]
    grey = recolour(image, Colours(saturation=0.0))
    assert grey.tolist() == [[[250, 250, 250]]]  # the value, the largest channel, stays
    pure = np.uint8([[[0, 0, 200]]])  # red, 60 degrees from yellow
    assert recolour(pure, Colours(hue=60)).tolist() == [[[0, 200, 200]]]
    assert recolour(pure, Colours(hue=-60)).tolist() == [[[200, 0, 200]]]


def test_each_change_of_colours_happens_half_of_the_time_within_its_range():
    drawn = [random_colours(generator(seed), DEFAULT) for seed in range(400)]
    for name, low, high in (("brightness", -32, 32), ("saturation", 0.5, 1.5), ("hue", -18, 18)):
        values = np.array([getattr(colours, name) for colours in drawn])
        changed = values[values != getattr(Colours(), name)]
        assert 150 < len(changed) < 250
        assert low <= changed.min() < 0.9 * low + 0.1 * high
        assert 0.1 * low + 0.9 * high < changed.max() <= high
    before = sum(colours.contrast_before != 1 for colours in drawn)
    after = sum(colours.contrast_after != 1 for colours in drawn)
    assert 60 < before < 140 and 60 < after < 140
    assert not any(c.contrast_before != 1 and c.contrast_after != 1 for c in drawn)
    shuffled = {colours.channels for colours in drawn}
    assert len(shuffled) == 6
