"""Ids that hold for days: an online tracker with bounded memory.

Each frame, every track is moved to where it should be by now and compared with every detection:
masks, boxes and, where the model gives them, embeddings. Hungarian assignment pairs them one to
one, first with the tracks that are established, then with those that are still on trial.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from sipmask_core.errors import InputError
from sipmask_core.instances import UNTRACKED, TrackState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sipmask_core.instances import Instances, MaskCrop

GRID = 160  # samples along the longer side of the image when masks are compared
FEW_SAMPLES = 16  # a mask of fewer is compared by its box
VELOCITY_GAIN = 0.3  # share of a surprise in position that is put down to velocity
VELOCITY_HALF_LIFE = 0.5  # seconds after which an unseen object is thought half as fast
SEARCH_GROWTH = 0.5  # box sides per second that the search for a lost track widens, at most 1
OTHER_LABEL = 0.5  # what an affinity between different classes counts
LABEL_MEMORY = 0.9  # of the votes for a track's class, per frame
EMBEDDING_MEMORY = 0.8  # of a track's embedding, per frame
FRAME_SECONDS = 1 / 30  # where no stamps are given


@dataclass(frozen=True)
class TrackerSettings:
    """How the online tracker decides.

    new_score: a detection must score this to start a track; a weaker one only continues one.
    confirm_after: frames in which an object was seen before its track is confirmed.
    min_affinity: below this (0 to 1) a track and a detection are never the same object.
    max_lost_seconds: how long a confirmed track that is not seen is looked for.
    max_tracks: most tracks in memory; beyond, those longest unseen go first.
    duplicate_iou: a detection whose mask overlaps another tracked one's more starts no track.
    mask_weight, box_weight, embedding_weight: of mask IoU, box IoU and cosine of the embeddings in
        the affinity; embeddings count where the model gives them.

    Raises InputError for values out of range.
    """

    new_score: float = 0.4
    confirm_after: int = 3
    min_affinity: float = 0.15
    max_lost_seconds: float = 1.5
    max_tracks: int = 200
    duplicate_iou: float = 0.7
    mask_weight: float = 1.0
    box_weight: float = 1.0
    embedding_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("new_score", "min_affinity", "duplicate_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be between 0 and 1.")
        for name in ("confirm_after", "max_tracks"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("max_lost_seconds", "mask_weight", "box_weight", "embedding_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; it must be 0 or more.")
        if self.mask_weight + self.box_weight == 0:
            raise InputError("mask_weight and box_weight are both 0; one of them must count.")


class _Samples(NamedTuple):
    """A mask at the points of a grid over the image: (h, w) bool whose first sample is (x, y)."""

    x: int
    y: int
    bitmap: NDArray[np.bool_]
    count: int


@dataclass
class _Track:
    """One object. `box` is where it was seen last, `velocity` in pixels per second of each side."""

    id: int
    box: NDArray[np.float32]
    velocity: NDArray[np.float32]
    mask: MaskCrop
    embedding: NDArray[np.float32]
    votes: dict[int, float]
    last_seen: float
    born: int
    seen: int = 1
    state: TrackState = TrackState.NEW

    @property
    def label(self) -> int:
        return max(self.votes, key=lambda label: self.votes[label])

    def motion(self, now: float) -> NDArray[np.float32]:
        """How far its sides have moved since it was seen: (4,) pixels."""
        unseen = now - self.last_seen
        # The way of a body that slows down by half every VELOCITY_HALF_LIFE.
        decay = math.log(2) / VELOCITY_HALF_LIFE
        return self.velocity * np.float32((1 - math.exp(-decay * unseen)) / decay)


class OnlineTracker:
    """See `Tracker`, mode "online"."""

    def __init__(self, settings: TrackerSettings) -> None:
        self.settings = settings
        self._next_id = 0
        self.reset()

    def reset(self) -> None:
        """Forget all tracks; their ids are not used again."""
        self._tracks: list[_Track] = []
        self._now = 0.0
        self._stamp: float | None = None
        self._frame = 0

    def update(self, instances: Instances, stamp: float | None = None) -> Instances:
        """The instances of the next frame with track ids, states and ages.

        stamp: of the frame, seconds; where None, frames are FRAME_SECONDS apart. A stamp that is
        not later than the last one lets no time pass.
        """
        elapsed = FRAME_SECONDS
        if stamp is not None:
            elapsed = 0.0 if self._stamp is None else max(0.0, stamp - self._stamp)
        self._stamp = stamp
        self._now += elapsed
        self._frame += 1
        self._forget()

        step = max(1, -(-max(instances.image_size) // GRID))
        found = [_sample(crop, (0, 0), step) for crop in instances.mask_crops]
        owner: list[_Track | None] = [None] * len(instances)
        for on_trial in (False, True):
            tracks = [t for t in self._tracks if (t.state == TrackState.NEW) == on_trial]
            open_ = [i for i, track in enumerate(owner) if track is None]
            affinity = self._affinity(tracks, instances, open_, found, step)
            for row, column in zip(*linear_sum_assignment(affinity, maximize=True), strict=True):
                if affinity[row, column] > 0:
                    owner[open_[column]] = tracks[row]
        self._continue(owner, instances)
        self._start(owner, instances, found)
        return replace(
            instances,
            track_ids=np.array([t.id if t else UNTRACKED for t in owner], np.int64),
            track_states=np.array([t.state if t else TrackState.NONE for t in owner], np.uint8),
            track_ages=np.array([self._frame - t.born if t else 0 for t in owner], np.int64),
        )

    def _forget(self) -> None:
        """Let go of tracks that were not seen for too long."""
        oldest = self._now - self.settings.max_lost_seconds
        self._tracks = [t for t in self._tracks if t.last_seen >= oldest]

    def _affinity(
        self,
        tracks: list[_Track],
        instances: Instances,
        candidates: list[int],
        found: list[_Samples],
        step: int,
    ) -> NDArray[np.float32]:
        """How well tracks (T) and candidates (C) go together: (T, C) in [0, 1], 0 if impossible."""
        s = self.settings
        affinity = np.zeros((len(tracks), len(candidates)), np.float32)
        if affinity.size == 0:
            return affinity
        motion = np.stack([t.motion(self._now) for t in tracks])  # (T, 4)
        expected = np.stack([t.box for t in tracks]) + motion
        unseen = np.array([self._now - t.last_seen for t in tracks], np.float32)
        growth = np.minimum(1, SEARCH_GROWTH * np.maximum(0, unseen - 2 * FRAME_SECONDS)) / 2
        boxes = instances.boxes[candidates]
        box_iou = _iou(_grown(expected, growth), _grown(boxes, growth.mean(keepdims=True)))
        mask_iou = box_iou.copy()
        for row, track in enumerate(tracks):
            near = np.flatnonzero(box_iou[row])
            if s.mask_weight and len(near):
                shift = (motion[row, :2] + motion[row, 2:]) / 2
                mask = _sample(track.mask, (round(float(shift[0])), round(float(shift[1]))), step)
                for column in near:
                    other = found[candidates[column]]
                    if min(mask.count, other.count) >= FEW_SAMPLES:
                        mask_iou[row, column] = _mask_iou(mask, other)
        total = s.mask_weight * mask_iou + s.box_weight * box_iou
        weight = s.mask_weight + s.box_weight
        if instances.embeddings.shape[1] and s.embedding_weight:
            known = _normalised(np.stack([t.embedding for t in tracks]))
            cosine = known @ _normalised(instances.embeddings[candidates]).T
            total += s.embedding_weight * np.maximum(0, cosine)
            weight += s.embedding_weight
        labels = np.array([t.label for t in tracks])
        same = labels[:, None] == instances.labels[candidates]
        affinity[:] = total / weight * np.where(same, 1, OTHER_LABEL)
        affinity[(affinity < s.min_affinity) | (box_iou == 0)] = 0
        return affinity

    def _continue(self, owner: list[_Track | None], instances: Instances) -> None:
        """Write down what was seen of known tracks; drop trials that were not seen."""
        for index, track in enumerate(owner):
            if track is None:
                continue
            box = instances.boxes[index]
            unseen = self._now - track.last_seen
            if unseen > 0:
                surprise = box - (track.box + track.motion(self._now))
                gain = VELOCITY_GAIN / max(unseen, FRAME_SECONDS)
                track.velocity = track.velocity + surprise * np.float32(gain)
            track.box, track.mask = box.copy(), instances.mask_crops[index]
            embedding = instances.embeddings[index]
            track.embedding = (
                EMBEDDING_MEMORY * track.embedding + (1 - EMBEDDING_MEMORY) * embedding
            )
            _vote(track.votes, int(instances.labels[index]), float(instances.scores[index]))
            track.last_seen = self._now
            track.seen += 1
            if track.state == TrackState.LOST or track.seen >= self.settings.confirm_after:
                track.state = TrackState.CONFIRMED
        current = {track.id for track in owner if track is not None}
        for track in self._tracks:
            if track.id not in current and track.state == TrackState.CONFIRMED:
                track.state = TrackState.LOST
        self._tracks = [
            t for t in self._tracks if t.id in current or t.state == TrackState.LOST
        ]

    def _start(
        self, owner: list[_Track | None], instances: Instances, found: list[_Samples]
    ) -> None:
        """Begin a track for each sure detection that continues none and is nobody's double."""
        for index in range(len(instances)):
            if owner[index] is not None or instances.scores[index] < self.settings.new_score:
                continue
            if any(
                other is not None
                and _mask_iou(found[index], found[i]) > self.settings.duplicate_iou
                for i, other in enumerate(owner)
            ):
                continue
            if len(self._tracks) >= self.settings.max_tracks:
                longest_unseen = min(self._tracks, key=lambda t: t.last_seen)
                if longest_unseen.last_seen == self._now:
                    return
                self._tracks.remove(longest_unseen)
            track = _Track(
                id=self._next_id,
                box=instances.boxes[index].copy(),
                velocity=np.zeros(4, np.float32),
                mask=instances.mask_crops[index],
                embedding=instances.embeddings[index].copy(),
                votes={int(instances.labels[index]): float(instances.scores[index])},
                last_seen=self._now,
                born=self._frame,
                state=TrackState.CONFIRMED
                if self.settings.confirm_after == 1
                else TrackState.NEW,
            )
            self._next_id += 1
            self._tracks.append(track)
            owner[index] = track


def _vote(votes: dict[int, float], label: int, score: float) -> None:
    for known in votes:
        votes[known] *= LABEL_MEMORY
    votes[label] = votes.get(label, 0.0) + score


def _sample(crop: MaskCrop, shift: tuple[int, int], step: int) -> _Samples:
    """The mask, moved by (x, y) pixels, at every step-th pixel of the image."""
    x, y = crop.x + shift[0], crop.y + shift[1]
    bitmap = crop.bitmap[-y % step :: step, -x % step :: step]
    return _Samples(-(-x // step), -(-y // step), bitmap, int(np.count_nonzero(bitmap)))


def _mask_iou(a: _Samples, b: _Samples) -> float:
    x, y = max(a.x, b.x), max(a.y, b.y)
    right = min(a.x + a.bitmap.shape[1], b.x + b.bitmap.shape[1])
    bottom = min(a.y + a.bitmap.shape[0], b.y + b.bitmap.shape[0])
    if right <= x or bottom <= y:
        return 0.0
    part = a.bitmap[y - a.y : bottom - a.y, x - a.x : right - a.x]
    other = b.bitmap[y - b.y : bottom - b.y, x - b.x : right - b.x]
    common = int(np.count_nonzero(part & other))
    return common / max(1, a.count + b.count - common)


def _grown(boxes: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes (N, 4) whose sides move out by (N,) or (1,) shares of the box's size."""
    margin = (boxes[:, 2:] - boxes[:, :2]) * share[:, None]
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of boxes (N, 4) and (M, 4): (N, M)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clip(min=0).prod(axis=2)
    area_a, area_b = ((box[:, 2:] - box[:, :2]).clip(min=0).prod(axis=1) for box in (a, b))
    union = np.maximum(area_a[:, None] + area_b - common, np.finfo(np.float32).tiny)
    iou: NDArray[np.float32] = common / union
    return iou


def _normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
