import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import assert_whole, make_target, scenes
from torchvision import tv_tensors
from torchvision.transforms import v2

from sipmask_core.errors import InputError
from sipmask_core.model.inputs import prepare
from sipmask_core.model.presets import get_preset
from sipmask_core.training.augmentation.resize import ResizeAugmentation, nearest, resized
from sipmask_core.training.augmentation.target import Canvas, mask_bounds

SMALL = ResizeAugmentation(long=(100, 180), short=(96, 130))
OURS = Canvas(None, (0, 0, 0), inclusive=False)
THEIRS = Canvas(None, (0, 0, 0), inclusive=True)


def augmented(scene, seed, canvas=OURS, augmentation=SMALL):
    image, target = scene
    view = augmentation.view(np.random.default_rng(seed), image.shape[:2], target["boxes"], canvas)
    return view(image, target)


@given(scenes(), st.integers(0, 999), st.sampled_from([OURS, THEIRS]))
@settings(max_examples=100, deadline=None)
def test_boxes_stay_around_their_masks_at_any_size(scene, seed, canvas):
    image, target = augmented(scene, seed, canvas)
    assert_whole(image, target, image.shape[:2])
    assert max(image.shape) <= 180 and min(image.shape[:2]) <= 130
    assert len(target["labels"]) == len(scene[1]["labels"])  # nothing is cropped
    bounds = mask_bounds(target["masks"])
    # A pixel of the image or of what it is resized from, whichever is larger.
    tolerance = 0.01 + max(
        1, image.shape[0] / scene[0].shape[0], image.shape[1] / scene[0].shape[1]
    )
    bounds[:, 2:] -= canvas.inclusive
    assert (np.abs(target["boxes"] - bounds) <= tolerance).all()


@given(scenes(), st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_the_seed_alone_decides(scene, seed):
    first, again = augmented(scene, seed), augmented(scene, seed)
    assert np.array_equal(first[0], again[0])
    assert all(np.array_equal(first[1][name], again[1][name]) for name in first[1])


def test_both_sides_are_drawn_from_their_whole_ranges():
    augmentation = ResizeAugmentation(long=(300, 303), short=(96, 98), flip=0.5)
    square = np.zeros((50, 50, 3), np.uint8)
    panorama = np.zeros((40, 400, 3), np.uint8)
    empty = make_target([], np.zeros((0, 50, 50)))
    wide_empty = make_target([], np.zeros((0, 40, 400)))
    shorts, longs = set(), set()
    for seed in range(60):
        shorts.add(augmented((square, empty), seed, augmentation=augmentation)[0].shape[0])
        longs.add(augmented((panorama, wide_empty), seed, augmentation=augmentation)[0].shape[1])
    assert shorts == {96, 97, 98}
    assert longs == {300, 301, 302, 303}


def test_half_of_the_images_are_mirrored():
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, :50] = 255
    empty = make_target([], np.zeros((0, 100, 100)))
    left = [augmented((image, empty), seed)[0][0, 0, 0] == 255 for seed in range(200)]
    assert 70 < sum(left) < 130


def test_pixels_are_those_of_inference():
    preset = get_preset("sipmask_r50_caffe_fpn_gn_1x")
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    still = ResizeAugmentation(long=(1333, 1333), short=(800, 800), flip=0.0)
    target = make_target([], np.zeros((0, 48, 64)))
    trained, _ = augmented((image, target), 0, THEIRS, still)
    tested = prepare(image, preset)
    assert np.array_equal(trained, tested.pixels[: tested.size[0], : tested.size[1]])


def test_the_authors_boxes_lose_their_last_pixel_before_they_are_scaled():
    image = np.zeros((50, 50, 3), np.uint8)
    masks = np.zeros((1, 50, 50), np.uint8)
    target = make_target([10, 20, 30, 50], masks)
    assert resized(image, target, (100, 100), True)[1]["boxes"].tolist() == [[20, 40, 58, 98]]
    assert resized(image, target, (100, 100), False)[1]["boxes"].tolist() == [[20, 40, 60, 100]]


# Powers of two, for torchvision finds the nearest pixel with float32 ratios.
@given(scenes(largest=60), st.sampled_from([16, 64, 128]), st.sampled_from([16, 64, 128]))
@settings(max_examples=40, deadline=None)
def test_masks_and_boxes_are_where_torchvision_puts_them(scene, height, width):
    image, target = scene
    h, w = image.shape[:2]
    _, ours = resized(image, target, (height, width), False)
    resize = v2.Resize((height, width), v2.InterpolationMode.NEAREST, antialias=False)
    masks, boxes = resize(
        tv_tensors.Mask(torch.from_numpy(target["masks"])),
        tv_tensors.BoundingBoxes(
            torch.from_numpy(target["boxes"]), format="XYXY", canvas_size=(h, w)
        ),
    )
    assert np.array_equal(ours["masks"], masks.numpy())
    assert np.allclose(ours["boxes"], boxes.numpy(), atol=1e-3)


def test_each_mask_is_resized_on_its_own():
    masks = np.random.default_rng(0).integers(0, 2, (3, 20, 30), np.uint8)
    large = nearest(masks, (40, 60))
    assert large.shape == (3, 40, 60)
    for mask, out in zip(masks, large, strict=True):
        assert np.array_equal(out, cv2.resize(mask, (60, 40), interpolation=cv2.INTER_NEAREST))


@pytest.mark.parametrize(("long", "short"), [((95, 200), (96, 100)), ((200, 200), (120, 100))])
def test_a_range_that_makes_no_sense_is_refused(long, short):
    with pytest.raises(InputError, match="accepted is a range from 96 on"):
        ResizeAugmentation(long, short)
