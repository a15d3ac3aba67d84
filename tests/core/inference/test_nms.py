"""Suppression in blocks equals that of the plain rules, box by box."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from sipmask_core.inference.nms import FAST_NMS_PER_CLASS, FIRST_BLOCK, suppress


def _boxes(number: int, objects: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return noisy boxes around a few objects; many scores tie."""
    rng = np.random.default_rng(number + objects + classes)
    centre, half = rng.uniform(0, 400, (objects, 2)), rng.uniform(5, 80, (objects, 2))
    which = rng.integers(objects, size=number)
    boxes = np.concatenate((centre - half, centre + half), axis=1)[which]
    boxes += rng.normal(0, 8, boxes.shape)
    scores = rng.integers(1, 50, number) / 50
    return boxes.astype(np.float32), scores.astype(np.float32), rng.integers(classes, size=number)


def _one_by_one(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, threshold: float, kind: str
) -> list[int]:
    """Apply the rule as it is told: down the scores, each box against those before it."""
    iou = box_iou(torch.from_numpy(boxes), torch.from_numpy(boxes)).numpy()
    before: dict[int, list[int]] = {}
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], labels[i], i)):
        others = before.setdefault(int(labels[i]), [])
        survives = all(iou[j, i] <= threshold for j in others)
        if kind == "fast" and len(others) == FAST_NMS_PER_CLASS:
            continue
        if survives or kind == "fast":
            others.append(i)
        if survives:
            kept.append(i)
    return kept


@pytest.mark.parametrize("kind", ["greedy", "fast"])
@pytest.mark.parametrize("classes", [1, 4, 80])
@pytest.mark.parametrize(
    ("number", "objects"), [(1, 1), (FIRST_BLOCK, 5), (900, 10), (700, 300), (2500, 60)]
)
def test_the_survivors_are_those_of_the_plain_rule(
    kind: Literal["greedy", "fast"], classes: int, number: int, objects: int
) -> None:
    boxes, scores, labels = _boxes(number, objects, classes)
    expected = _one_by_one(boxes, scores, labels, 0.5, kind)
    assert suppress(boxes, scores, labels, 0.5, number, kind).tolist() == expected
    found = suppress(boxes, scores, labels, 0.5, 20, kind).tolist()
    assert len(found) >= min(20, len(expected))
    assert found == expected[: len(found)]


def test_all_that_tie_with_the_last_one_wanted_are_found() -> None:
    number = 5 * FIRST_BLOCK
    boxes = np.arange(number, dtype=np.float32)[:, None] * 20 + np.array([0, 0, 9, 9], np.float32)
    scores = np.full(number, 0.5, np.float32)
    scores[-1] = 0.25
    found = suppress(boxes, scores, np.zeros(number, np.int64), 0.5, 10, "greedy")
    assert found[: number - 1].tolist() == list(range(number - 1))


@pytest.mark.parametrize("kind", ["greedy", "fast"])
def test_nothing_survives_of_nothing(kind: Literal["greedy", "fast"]) -> None:
    nothing = np.zeros(0, np.float32)
    assert len(suppress(nothing.reshape(0, 4), nothing, np.zeros(0, np.int64), 0.5, 9, kind)) == 0
