import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from coco_squares import AS_PUBLISHED, tiny_preset, tiny_recipe, write_squares
from moving_squares import write_videos

import sipmask_core as sm
from sipmask_core.data.coco import read_annotations
from sipmask_core.data.merge import merged
from sipmask_core.data.youtube_vis import read_videos
from sipmask_core.errors import InputError
from sipmask_core.model.inputs import Normalise
from sipmask_core.training.augmentation.affine import Augmentation
from sipmask_core.training.augmentation.resize import ResizeAugmentation
from sipmask_core.training.augmentation.ssd import SsdAugmentation
from sipmask_core.training.dataset import CocoDataset, VideoDataset
from sipmask_core.training.objective import named_losses
from sipmask_core.training.samples import (
    REFERENCE_JITTER,
    AugmentedSamples,
    collate,
    jittered,
    normalised,
)

RESIZING = dataclasses.replace(
    tiny_recipe(),
    input_size=None,
    augmentation=ResizeAugmentation(long=(96, 200), short=(96, 200)),
)


@pytest.fixture
def dataset(tmp_path):
    annotations, images = write_squares(tmp_path)
    return CocoDataset(read_annotations(annotations), images, max_side=80)


def flat(sample):
    image, target = sample
    return torch.cat(
        [image.reshape(-1).double(), *(v.reshape(-1).double() for v in target.values())]
    )


def test_a_sample_depends_on_seed_epoch_and_index_alone(dataset):
    samples = AugmentedSamples(dataset, tiny_recipe(), tiny_preset())
    first = flat(samples[1, 2])
    _ = samples[0, 0], samples[4, 1]
    assert torch.equal(flat(samples[1, 2]), first)
    again = AugmentedSamples(dataset, tiny_recipe(), tiny_preset())
    assert torch.equal(flat(again[1, 2]), first)
    other_seed = dataclasses.replace(tiny_recipe(), seed=1)
    assert not torch.equal(samples[1, 2][0], samples[2, 2][0])
    assert not torch.equal(
        samples[1, 2][0], AugmentedSamples(dataset, other_seed, tiny_preset())[1, 2][0]
    )


def test_channels_come_in_the_order_of_the_preset(dataset):
    rgb = AugmentedSamples(dataset, tiny_recipe(), tiny_preset())
    bgr = AugmentedSamples(
        dataset,
        tiny_recipe(),
        dataclasses.replace(tiny_preset(), rgb=False, mean=tiny_preset().mean[::-1]),
    )
    assert torch.equal(rgb[0, 0][0], bgr[0, 0][0].flip(-1))


def test_the_authors_presets_get_no_sample_without_objects(dataset):
    own = AugmentedSamples(dataset, tiny_recipe(), tiny_preset())
    authors = AugmentedSamples(
        dataset, tiny_recipe(), dataclasses.replace(tiny_preset(), **AS_PUBLISHED)
    )
    counts = [len(own[epoch, 5][1]["labels"]) for epoch in range(20)]  # image 5 has no square
    assert 0 in counts
    assert all(len(authors[epoch, 5][1]["labels"]) for epoch in range(20))


def test_a_data_set_without_objects_is_refused_by_the_authors_presets(dataset):
    only_empty = dataclasses.replace(dataset.annotations, images=dataset.annotations.images[5:])
    empty = CocoDataset(only_empty, dataset.image_dir)
    preset = dataclasses.replace(tiny_preset(), **AS_PUBLISHED)
    with pytest.raises(InputError, match="no object left after augmentation"):
        AugmentedSamples(empty, tiny_recipe(), preset)[0, 0]


def test_a_canvas_that_turns_is_high_for_an_image_that_is_higher_than_wide(dataset):
    recipe = dataclasses.replace(tiny_recipe(), input_size=(96, 160), turns=True)
    samples = AugmentedSamples(dataset, recipe, tiny_preset())
    assert samples.tall.tolist() == [False] * 6, "those are square"
    image, target = samples[0, 0]
    assert image.shape[:2] == target["masks"].shape[1:] == (96, 160)

    canvas = samples.canvas
    assert canvas.turned_for((50, 49)).size == (160, 96)
    assert canvas.turned_for((50, 50)).size == canvas.turned_for((50, 51)).size == (96, 160)


def test_images_of_one_size_are_not_sorted_by_shape(dataset):
    assert AugmentedSamples(dataset, tiny_recipe(), tiny_preset()).tall is None
    assert AugmentedSamples(dataset, RESIZING, tiny_preset()).tall.tolist() == [False] * 6


def test_a_batch_stacks_images_and_lists_targets(dataset):
    samples = AugmentedSamples(dataset, tiny_recipe(), tiny_preset())
    images, targets = collate([samples[0, 0], samples[0, 1]])
    assert images.shape == (2, 96, 96, 3)
    assert images.dtype == torch.uint8
    assert [set(target) for target in targets] == [{"boxes", "labels", "masks", "ignore"}] * 2


def test_images_of_different_sizes_are_padded_to_the_largest(dataset):
    samples = AugmentedSamples(dataset, RESIZING, tiny_preset())
    batch = [samples[0, i] for i in range(4)]
    sizes = [image.shape[:2] for image, _ in batch]
    assert len(set(sizes)) > 1
    images, targets = collate(batch)
    largest = max(max(size) for size in sizes)
    assert images.shape[1:3] == (-(-largest // 32) * 32,) * 2
    for image, (original, _), target in zip(images, batch, targets, strict=True):
        h, w = original.shape[:2]
        assert torch.equal(image[:h, :w], original)
        assert target["masks"].shape[1:] == (h, w)


def test_padding_is_the_mean_colour_once_normalised(dataset):
    preset = tiny_preset()
    samples = AugmentedSamples(dataset, RESIZING, preset)
    batch = [samples[0, i] for i in range(4)]
    pixels, _ = normalised(Normalise(preset), *collate(batch))
    for padded, (image, _) in zip(pixels, batch, strict=True):
        h, w = image.shape[:2]
        assert not padded[:, h:].any() and not padded[:, :, w:].any()
        alone = Normalise(preset)(image[None], (h, w), torch.float32)[0]
        assert torch.equal(padded[:, :h, :w], alone)


@pytest.fixture
def videos(tmp_path):
    annotations, frames = write_videos(tmp_path / "videos")
    return VideoDataset(read_videos(annotations), frames)


AUGMENTATIONS = {
    "affine": tiny_recipe(),
    "ssd": dataclasses.replace(tiny_recipe(), augmentation=SsdAugmentation()),
    "resize": RESIZING,
}


@pytest.mark.parametrize("recipe", AUGMENTATIONS.values(), ids=AUGMENTATIONS.keys())
def test_a_reference_frame_has_the_same_augmentation(videos, recipe):
    samples = AugmentedSamples(videos, recipe, tiny_preset())
    seen = 0
    for epoch in range(8):
        image, target = samples[epoch, 8]  # which is its own reference
        assert torch.equal(target["reference_image"], image)
        count = len(target["labels"])
        seen += count
        assert target["reference_match"].tolist() == list(range(1, count + 1))
        sides = target["boxes"][:, 2:] - target["boxes"][:, :2]
        moved = (target["reference_boxes"] - target["boxes"]).abs().view(-1, 2, 2)
        assert (moved <= 1.5 * REFERENCE_JITTER * sides[:, None] + 1e-3).all()
    assert seen


def test_an_object_is_matched_with_itself_in_the_reference_frame(videos):
    samples = AugmentedSamples(videos, RESIZING, dataclasses.replace(tiny_preset(), rgb=False))
    matches = set()
    for epoch in range(20):
        _, target = samples[epoch, 0]
        assert target["labels"].tolist() == [1, 0]
        matches.add(tuple(target["reference_match"].tolist()))
        for match, green in zip(target["reference_match"], (90, 190), strict=True):
            if match:
                box = target["reference_boxes"][match - 1].view(2, 2)
                x, y = box.mean(dim=0).round().int().tolist()
                assert target["reference_image"][y, x].tolist() == [50, green, 220]
    assert matches == {(1, 2), (1, 0)}  # the second object is not in the last frame


def test_reference_frames_depend_on_seed_epoch_and_index_alone(videos):
    samples = AugmentedSamples(videos, RESIZING, tiny_preset())
    first = flat(samples[1, 5])
    _ = samples[0, 0]
    assert torch.equal(flat(samples[1, 5]), first)
    assert not torch.equal(flat(samples[2, 5])[:64], first[:64])


@pytest.mark.parametrize("copy_paste", [0.0, 1.0])
def test_a_photograph_is_its_own_reference_seen_from_elsewhere(tmp_path, copy_paste):
    annotations, images = write_squares(tmp_path / "photographs")
    dataset = CocoDataset(read_annotations(annotations), images)
    augmentation = Augmentation(scale=(0.8, 1.2), copy_paste=copy_paste)
    preset = dataclasses.replace(tiny_preset(), embedding_channels=16)
    recipe = dataclasses.replace(tiny_recipe(), augmentation=augmentation)
    samples = AugmentedSamples(dataset, recipe, preset)
    matched = pasted = 0
    for epoch in range(12):
        image, target = samples[epoch, epoch % 6]
        assert not torch.equal(target["reference_image"], image)
        own, theirs = target["ids"].tolist(), target["reference_ids"].tolist()
        assert len(set(own)) == len(own) and len(set(theirs)) == len(theirs)
        for track, match in zip(own, target["reference_match"].tolist(), strict=True):
            assert theirs[match - 1] == track if match else track not in theirs
        matched += sum(target["reference_match"].tolist()) > 0
        pasted += len(own) > 1
    assert matched > 6
    assert (pasted > 0) == (copy_paste > 0)


def test_the_authors_video_presets_learn_from_photographs_too(dataset):
    preset = dataclasses.replace(tiny_preset(), embedding_channels=16, **AS_PUBLISHED)
    samples = AugmentedSamples(dataset, RESIZING, preset)
    for index in range(5):
        image, target = samples[0, index]
        assert target["reference_image"].shape == image.shape
        assert len(target["reference_match"]) == 1


def test_reference_boxes_are_moved_and_resized_by_up_to_a_twentieth():
    boxes = np.tile(np.float32([[100, 200, 300, 240]]), (500, 1))
    moved = jittered(np.random.default_rng(0), boxes)
    centres = (moved[:, :2] + moved[:, 2:]) / 2 - (200, 220)
    sides = (moved[:, 2:] - moved[:, :2]) / (200, 40)
    assert np.abs(centres).max(axis=0) == pytest.approx([10, 2], rel=0.02)
    assert np.abs(sides - 1).max(axis=0) == pytest.approx([0.05, 0.05], rel=0.02)
    assert (np.abs(centres.mean(axis=0)) < [1, 0.2]).all()
    assert jittered(np.random.default_rng(0), boxes[:0]).shape == (0, 4)


def test_a_batch_of_frames_is_what_the_loss_of_a_video_model_takes(videos):
    preset = dataclasses.replace(tiny_preset(), embedding_channels=16)
    model = sm.build_model(preset, class_names=("bar", "square")).train()
    samples = AugmentedSamples(videos, RESIZING, preset)
    pixels, targets = normalised(Normalise(preset), *collate([samples[0, i] for i in (0, 1, 9)]))
    assert all(target["reference_image"].shape == pixels.shape[1:] for target in targets)
    losses = named_losses(model, pixels, targets)
    assert losses["loss_match"] > 0
    assert torch.stack(list(losses.values())).isfinite().all()


def test_crowds_are_background_to_the_authors_presets_alone(dataset):
    own = AugmentedSamples(dataset, tiny_recipe(), tiny_preset())
    authors = AugmentedSamples(
        dataset, tiny_recipe(), dataclasses.replace(tiny_preset(), **AS_PUBLISHED)
    )
    assert "ignore" in own[0, 0][1] and "ignore" not in authors[0, 0][1]


def unknown_in(tmp_path, change, **preset):
    """Return the target of the first of the squares, after a change of the file."""
    annotations, images = write_squares(tmp_path)
    document = json.loads(annotations.read_text())
    change(document["annotations"])
    annotations.write_text(json.dumps(document))
    recipe = dataclasses.replace(
        tiny_recipe(), augmentation=Augmentation(scale=(1, 1), flip=0, copy_paste=0)
    )
    data = CocoDataset(read_annotations(annotations), images, max_side=80)
    return AugmentedSamples(data, recipe, dataclasses.replace(tiny_preset(), **preset))[0, 0][1]


@pytest.mark.parametrize("authors", [False, True])
def test_objects_without_a_mask_and_uncertain_ones_are_told_to_the_losses(tmp_path, authors):
    def change(annotations):
        uncertain = {**annotations[0], "id": 90, "iscrowd": 1, "segmentation": None}
        annotations[:1] = [{**annotations[0], "segmentation": []}, uncertain]

    target = unknown_in(tmp_path, change, **(AS_PUBLISHED if authors else {}))
    assert target["has_mask"].tolist() == [False]
    assert target["labels"].tolist() == [0] and len(target["boxes"]) == 1
    assert target["unsure_labels"].tolist() == [0] and target["unsure_boxes"].shape == (1, 4)
    torch.testing.assert_close(target["unsure_boxes"], target["boxes"], atol=1, rtol=0)


def test_where_all_is_known_the_target_says_nothing_more(tmp_path):
    assert set(unknown_in(tmp_path, list)) == {"boxes", "labels", "masks", "ignore"}


def test_classes_that_an_images_file_lacks_are_marked(tmp_path):
    squares, images = write_squares(tmp_path / "squares")
    discs, more = write_squares(tmp_path / "discs")
    discs.write_text(discs.read_text().replace('"square"', '"disc"'))
    both = merged([(read_annotations(squares), images), (read_annotations(discs), more)])
    data = CocoDataset(both, Path())
    samples = AugmentedSamples(data, tiny_recipe(), tiny_preset())
    assert samples[0, 0][1]["known_classes"].tolist() == [True, False]
    assert samples[0, len(data) - 1][1]["known_classes"].tolist() == [False, True]
