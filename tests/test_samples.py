import dataclasses

import numpy as np
import pytest
import torch
from coco_squares import tiny_preset, tiny_recipe, write_squares

from sipmask_core.data.coco import read_annotations
from sipmask_core.data.dataset import CocoDataset
from sipmask_core.data.samples import AugmentedSamples, EpochBatches, collate
from sipmask_core.errors import InputError


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
        dataset, tiny_recipe(), dataclasses.replace(tiny_preset(), authors=True)
    )
    counts = [len(own[epoch, 5][1]["labels"]) for epoch in range(20)]  # image 5 has no square
    assert 0 in counts
    assert all(len(authors[epoch, 5][1]["labels"]) for epoch in range(20))


def test_a_data_set_without_objects_is_refused_by_the_authors_presets(dataset):
    only_empty = dataclasses.replace(dataset.annotations, images=dataset.annotations.images[5:])
    empty = CocoDataset(only_empty, dataset.image_dir)
    preset = dataclasses.replace(tiny_preset(), authors=True)
    with pytest.raises(InputError, match="no object left after augmentation"):
        AugmentedSamples(empty, tiny_recipe(), preset)[0, 0]


def test_each_epoch_takes_every_image_once_in_a_new_order():
    batches = list(EpochBatches(6, 2, seed=0, start=0, stop=6))
    epochs = [np.ravel([[i for _, i in b] for b in batches[k : k + 3]]) for k in (0, 3)]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()
    assert [{e for e, _ in b} for b in batches] == [{0}] * 3 + [{1}] * 3


@pytest.mark.parametrize("start", range(7))
def test_a_step_has_the_same_batch_wherever_the_run_began(start):
    whole = list(EpochBatches(7, 3, seed=5, start=0, stop=7))
    assert list(EpochBatches(7, 3, seed=5, start=start, stop=7)) == whole[start:]


def test_fewer_images_than_a_batch_make_one_batch():
    batches = EpochBatches(3, 8, seed=0, start=0, stop=2)
    assert batches.per_epoch == 1
    assert [len(batch) for batch in batches] == [3, 3]


def test_a_batch_stacks_images_and_lists_targets(dataset):
    samples = AugmentedSamples(dataset, tiny_recipe(), tiny_preset())
    images, targets = collate([samples[0, 0], samples[0, 1]])
    assert images.shape == (2, 96, 96, 3)
    assert images.dtype == torch.uint8
    assert [set(target) for target in targets] == [{"boxes", "labels", "masks", "ignore"}] * 2
