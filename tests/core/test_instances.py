"""Instances: parallel arrays that stay parallel, and masks that survive every form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

import sipmask_core as sm


def _instances() -> sm.Instances:
    ring = np.ones((5, 6), bool)
    ring[1:4, 1:5] = False
    return sm.Instances(
        boxes=np.array([[2, 3, 8, 8], [0, 0, 1, 1], [4, 4, 9, 9]], np.float32),
        scores=np.array([0.9, 0.8, 0.7], np.float32),
        labels=np.array([1, 0, 1]),
        mask_crops=[
            sm.MaskCrop(2, 3, ring),
            sm.MaskCrop(0, 0, np.zeros((0, 0), bool)),
            sm.MaskCrop(4, 4, np.ones((5, 5), bool)),
        ],
        image_size=(10, 12),
    )


def test_masks_are_pasted_where_their_crops_say() -> None:
    masks = _instances().masks
    assert masks.shape == (3, 10, 12)
    assert masks[0].sum() == 30 - 12
    assert not masks[0, 5, 5]  # the hole
    assert masks[0, 4, 7]
    assert masks[2, 4, 7]  # overlaps are kept
    assert masks[1].sum() == 0


def test_rle_holds_the_same_pixels() -> None:
    instances = _instances()
    rles = instances.to_rle()
    assert all(isinstance(rle["counts"], str) for rle in rles)
    decoded = coco_mask.decode(rles).transpose(2, 0, 1)
    assert np.array_equal(decoded.astype(bool), instances.masks)


def test_untracked_and_unrescored_by_default() -> None:
    instances = _instances()
    assert instances.track_ids.tolist() == [-1, -1, -1]
    assert instances.mask_scores is instances.scores
    assert instances.embeddings.shape == (3, 0)


@pytest.mark.parametrize("index", [[2, 0], np.array([True, False, True]), slice(0, 2), []])
def test_indexing_picks_from_every_array(index: object) -> None:
    instances = replace(_instances(), embeddings=np.arange(6, dtype=np.float32).reshape(3, 2))
    picked = instances[index]  # type: ignore[index]
    expected = np.arange(3)[index]
    assert picked.scores.tolist() == instances.scores[expected].tolist()
    assert np.array_equal(picked.masks, instances.masks[expected])
    assert picked.track_ids.shape == picked.labels.shape
    assert np.array_equal(picked.embeddings, instances.embeddings[expected])


def test_arrays_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Instances.labels has shape \(2,\), expected \(1,\)"):
        sm.Instances(
            boxes=np.zeros((1, 4), np.float32),
            scores=np.zeros(1, np.float32),
            labels=np.zeros(2, np.int64),
            mask_crops=[sm.MaskCrop(0, 0, np.zeros((0, 0), bool))],
            image_size=(4, 4),
        )


@pytest.mark.parametrize("shape", [(2, 4), (3,)])
def test_embeddings_are_one_vector_per_instance(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Instances.embeddings has shape"):
        replace(_instances(), embeddings=np.zeros(shape, np.float32))


def test_an_empty_scene_has_arrays_of_length_zero() -> None:
    empty = sm.Instances.empty((5, 7))
    assert len(empty) == 0
    assert empty.boxes.shape == (0, 4)
    assert empty.masks.shape == (0, 5, 7)
    assert empty.to_rle() == []
