"""The authors' association of objects over the frames of a video (SipMask-VIS)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sipmask_core.errors import InputError
from sipmask_core.instances import UNTRACKED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sipmask_core.instances import Instances

# Most objects of one video, lost ones included; beyond it, new ones stay untracked.
MAX_OBJECTS = 10_000
IOU_WEIGHT, LABEL_WEIGHT = 2.0, 10.0


class _Object(NamedTuple):
    """What is remembered of an object: how and where it was last seen, and its first label."""

    embedding: NDArray[np.float32]
    box: NDArray[np.float32]
    label: int


class YoutubeVisTracker:
    """Gives the objects of a video ids 0, 1, 2, ... in the order in which they are first seen.

    After Yang et al., "Video Instance Segmentation", ICCV 2019. Each instance, by falling score,
    takes the remembered object, or the place of a new one, that matches it best in embedding, box
    and label; a label is never updated, and nothing is forgotten within a video. Two instances of
    one frame can take the same id: then the later one matches better and is the one that counts.
    One that matches no better than an earlier one with the same id stays untracked (-1).

    A fresh tracker, and one after `reset`, knows no object: use either for each video, as
    `Predictor.track` does. Otherwise the objects of one video are looked for in the next, as the
    authors' code does if the first frame of a video shows nothing.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all objects: the next frame is the first of another video."""
        self._objects: list[_Object] = []

    def update(self, instances: Instances) -> Instances:
        """Return all instances of the next frame, in the same order, with track ids.

        Raises InputError for instances without embeddings, which only presets with a track branch
        give, and for embeddings of another length than before.
        """
        if len(instances) == 0:
            return instances
        self._check(instances.embeddings)
        scores = self._scores(instances)  # (N, 1 + M)
        best = np.full(scores.shape[1] - 1, -np.inf)  # (M,) in this frame
        track_ids = np.full(len(instances), UNTRACKED, np.int64)
        for index, column in enumerate(scores.argmax(axis=1).tolist()):
            known = column - 1
            seen = _Object(
                instances.embeddings[index].copy(),
                instances.boxes[index].copy(),
                int(instances.labels[index]),
            )
            if column == 0 and len(self._objects) < MAX_OBJECTS:
                track_ids[index] = len(self._objects)
                self._objects.append(seen)
            elif column > 0 and scores[index, column] > best[known]:
                best[known] = scores[index, column]
                track_ids[index] = known
                self._objects[known] = seen._replace(label=self._objects[known].label)
        return replace(instances, track_ids=track_ids)

    def _check(self, embeddings: NDArray[np.float32]) -> None:
        length = embeddings.shape[1]
        if length == 0:
            raise InputError(
                "The instances have no embeddings, by which the tracker knows objects again; a "
                "vis_* preset gives them."
            )
        if self._objects and length != len(self._objects[0].embedding):
            raise InputError(
                f"The embeddings have {length} numbers, but those of earlier frames had "
                f"{len(self._objects[0].embedding)}; one tracker serves one model."
            )

    def _scores(self, instances: Instances) -> NDArray[np.float32]:
        """Rate how well each of N instances matches a new object and the M known ones: (N, 1 + M).

        Adds up the logarithms of the matching probability and of the instance's score, the overlap,
        and whether the labels agree, which counts as true for a new object.
        """
        n, known = len(instances), len(self._objects)
        logits = np.zeros((n, 1 + known), np.float32)
        overlap = np.zeros((n, 1 + known), np.float32)
        same_label = np.ones((n, 1 + known), np.float32)
        if known:
            embeddings, boxes, labels = (
                np.array(part) for part in zip(*self._objects, strict=True)
            )
            logits[:, 1:] = instances.embeddings @ embeddings.T
            overlap[:, 1:] = _inclusive_iou(instances.boxes, boxes)
            same_label[:, 1:] = instances.labels[:, None] == labels
        logits -= logits.max(axis=1, keepdims=True)
        log_probability = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        log_score = np.log(np.maximum(instances.scores, np.finfo(np.float32).tiny))[:, None]
        total: NDArray[np.float32] = (
            log_probability + log_score + IOU_WEIGHT * overlap + LABEL_WEIGHT * same_label
        )
        return total


def _inclusive_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the authors' IoU (N, M) of boxes (N, 4) and (M, 4), which hold their last pixel."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = (high - low + 1).clip(min=0).prod(axis=2)  # (N, M)
    area_a, area_b = ((box[:, 2:] - box[:, :2] + 1).prod(axis=1) for box in (a, b))
    iou: NDArray[np.float32] = intersection / (area_a[:, None] + area_b - intersection)
    return iou
