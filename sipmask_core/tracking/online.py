"""Ids that hold for days: an online tracker with bounded memory.

Each frame, every track is moved to where it should be by now and compared with every detection:
masks, boxes and, where the model gives them, embeddings. The Hungarian method pairs them one to
one; what is established counts more than what is still on trial. An established track that is left
over gets a detection that is left over where one of the two lies within the other.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from sipmask_core.errors import InputError
from sipmask_core.instances import UNTRACKED, TrackState
from sipmask_core.tracking.box_motion import corrected, first_motions, predicted, uncertainty
from sipmask_core.tracking.mask_overlap import sample_masks, sampled_iou

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from sipmask_core.instances import Instances
    from sipmask_core.mask_crop import MaskCrop
    from sipmask_core.tracking.settings import TrackerSettings

SEARCH_GROWTH = 2.5  # standard deviations of a track's place by which boxes grow on each side
SEARCH_LIMIT = 0.5  # box sides
LEAST_WITHIN = 0.5  # of the smaller box that must lie within the other for a second look
ON_TRIAL = 0.5  # what the affinity of a NEW track counts against that of an established one
OTHER_LABEL = 0.25  # what an affinity between different classes counts
LABEL_MEMORY = 0.9  # of the votes for a track's class, per frame
EMBEDDING_MEMORY = 0.8  # of a track's embedding, per frame
FRAME_SECONDS = 1 / 30  # pass where the stamps do not say how much time did


@dataclass(eq=False)
class _Track:
    """One object: where and how it was seen last.

    motion, expected: (9,), see `box_motion`, when it was seen last and now.
    """

    id: int
    box: NDArray[np.float32]
    motion: NDArray[np.float32]
    expected: NDArray[np.float32]
    mask: MaskCrop
    embedding: NDArray[np.float32]
    label: int
    votes: dict[int, float]  # by label
    last_seen: float
    born: int
    seen: int = 1
    missed: int = 0
    state: TrackState = TrackState.NEW

    def vote(self, label: int, score: float) -> None:
        for known in self.votes:
            self.votes[known] *= LABEL_MEMORY
        self.votes[label] = self.votes.get(label, 0.0) + score
        self.label = max(self.votes, key=self.votes.__getitem__)


class _Frame:
    """The detections of one frame and what is made of them once."""

    def __init__(self, instances: Instances) -> None:
        self.instances = instances
        self.looks = _normalised(instances.embeddings)  # (N, E)

    @cached_property
    def samples(self) -> NDArray[np.float32]:
        """(N, P), see `sample_masks`."""
        return sample_masks(self.instances.mask_crops, self.instances.image_size)


class OnlineTracker:
    """Gives the instances of successive frames of one camera ids that stay with their objects.

    A detection that continues no track starts a NEW one. Seen in `confirm_after` frames it is
    CONFIRMED, and LOST while it is not seen, until it is seen again or `max_lost_seconds` have
    passed. A NEW track is dropped once it was missed in more frames than it was seen in. Ids count
    up from `first_id` and are never used again, also after `reset`; `next_id` is the next one.

    Two threads may use it; equal frames and stamps give equal ids.
    """

    def __init__(self, settings: TrackerSettings, first_id: int = 0) -> None:
        self.settings = settings
        self.next_id = first_id
        self._lock = threading.Lock()
        self._now = 0.0  # seconds of all frames so far
        self._frame = 0
        self._stamp: float | None = None
        self._image_size = (0, 0)
        self._tracks: list[_Track] = []

    def reset(self) -> None:
        """Forget all tracks; their ids are not used again."""
        with self._lock:
            self._tracks = []

    @property
    def living(self) -> frozenset[int]:
        """The ids of all tracks that may be seen again; at most `max_tracks`."""
        with self._lock:
            return frozenset(track.id for track in self._tracks)

    def update(self, instances: Instances, stamp: float | None = None) -> Instances:
        """Return the instances of the next frame, in the same order, with ids, states and ages.

        stamp: of the frame, seconds. If it is None or not later than the last one, FRAME_SECONDS
        are taken to have passed. If the image size changes, all tracks are forgotten. Raise
        InputError for a stamp that is not finite and for embeddings of another length than before.
        """
        if stamp is not None and not math.isfinite(stamp):
            raise InputError(f"stamp is {stamp}; it must be a finite number of seconds.")
        with self._lock:
            frame = _Frame(instances)
            self._check_embeddings(instances)
            self._advance(instances.image_size, stamp)
            owners = self._assign(frame)
            self._continue(owners, frame)
            self._start(owners, frame)
            return replace(
                instances,
                track_ids=np.array([t.id if t else UNTRACKED for t in owners], np.int64),
                track_states=np.array([t.state if t else 0 for t in owners], np.uint8),
                track_ages=np.array([self._frame - t.born if t else 0 for t in owners], np.int64),
            )

    def _check_embeddings(self, instances: Instances) -> None:
        length = instances.embeddings.shape[1]
        known = len(self._tracks[0].embedding) if self._tracks else length
        if len(instances) and length != known:
            raise InputError(
                f"The embeddings have {length} numbers, but those of earlier frames had {known};"
                " one tracker serves one model."
            )

    def _advance(self, image_size: tuple[int, int], stamp: float | None) -> None:
        """Let time pass, forget the tracks that were not seen for too long and move the others."""
        elapsed = 0.0
        if stamp is not None and self._stamp is not None:
            elapsed = stamp - self._stamp
        self._now += elapsed if elapsed > 0 else FRAME_SECONDS
        self._stamp = stamp
        self._frame += 1
        oldest = self._now - self.settings.max_lost_seconds
        same_size = image_size == self._image_size
        self._image_size = image_size
        self._tracks = [t for t in self._tracks if same_size and t.last_seen >= oldest]
        if self._tracks:
            motions = predicted(_rows(t.motion for t in self._tracks), self._unseen())
            for track, motion in zip(self._tracks, motions, strict=True):
                track.expected = motion

    def _unseen(self) -> NDArray[np.float64]:
        """For how long each track has not been seen: (T,) seconds."""
        return self._now - np.array([t.last_seen for t in self._tracks], np.float64)

    def _assign(self, frame: _Frame) -> list[_Track | None]:
        """Return the track that each detection continues, if any."""
        owners: list[_Track | None] = [None] * len(frame.instances)
        if not self._tracks or not owners:
            return owners
        established = np.array([t.state != TrackState.NEW for t in self._tracks])
        worth, within = self._affinities(
            frame, np.where(established, 1, np.float32(ON_TRIAL))[:, None]
        )
        for row, column in _pairs(worth):
            owners[column] = self._tracks[row]
            established[row] = False
        # What hides leaves a sliver, whose IoU with the whole is little.
        within[~established] = 0
        within[:, [owner is not None for owner in owners]] = 0
        for row, column in _pairs(within):
            owners[column] = self._tracks[row]
        return owners

    def _affinities(
        self, frame: _Frame, trust: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """How well T tracks and N detections go together: twice (T, N) in [0, 1], 0 if impossible.

        trust: (T, 1). The first is by overlap and looks, times trust; the second is how much of the
        smaller box lies within the other, for those that the first leaves over.
        """
        s, tracks, instances = self.settings, self._tracks, frame.instances
        expected = _rows(t.expected for t in tracks)  # (T, 9)
        growth = np.minimum(SEARCH_GROWTH * uncertainty(expected), np.float32(SEARCH_LIMIT))
        box_iou, within = _overlaps(expected[:, :4], instances.boxes, growth)
        total, weight = s.box_weight * box_iou, s.box_weight
        if s.mask_weight:
            moved = expected[:, :4] - _rows(t.box for t in tracks)
            shifts = np.nan_to_num(moved.reshape(-1, 2, 2).mean(axis=1))
            masks = sample_masks([t.mask for t in tracks], instances.image_size, shifts)
            total += s.mask_weight * sampled_iou(masks, frame.samples, otherwise=box_iou)
            weight += s.mask_weight
        if s.embedding_weight and frame.looks.shape[1]:
            cosine = _normalised(_rows(t.embedding for t in tracks)) @ frame.looks.T
            total += s.embedding_weight * np.maximum(0, cosine)
            weight += s.embedding_weight
        alike = total / weight
        same_label = np.array([t.label for t in tracks])[:, None] == instances.labels
        likely = np.where(same_label, 1, np.float32(OTHER_LABEL))
        enough = np.minimum(alike * trust, alike * likely) >= s.min_affinity
        # A box that is infinite is nowhere.
        return (
            np.where(enough & (box_iou > 0), alike * likely * trust, 0),
            np.where(within * likely >= max(LEAST_WITHIN, s.min_affinity), within, 0),
        )

    def _continue(self, owners: list[_Track | None], frame: _Frame) -> None:
        """Write down what was seen of known tracks, and which of them were missed."""
        for track in self._tracks:
            track.missed += 1
        self._write_down([(i, track) for i, track in enumerate(owners) if track], frame)
        for track in self._tracks:
            if track.state == TrackState.CONFIRMED and track.last_seen < self._now:
                track.state = TrackState.LOST
        self._tracks = [t for t in self._tracks if t.state != TrackState.NEW or t.missed <= t.seen]

    def _write_down(self, seen: list[tuple[int, _Track]], frame: _Frame) -> None:
        """seen: the tracks that go on and which detection each is."""
        if not seen:
            return
        instances = frame.instances
        indices, tracks = [list(column) for column in zip(*seen, strict=True)]
        boxes = instances.boxes[indices]  # (S, 4)
        motions = corrected(_rows(t.expected for t in tracks), boxes)
        kept = np.float32(EMBEDDING_MEMORY)
        looks = kept * _rows(t.embedding for t in tracks) + (1 - kept) * frame.looks[indices]
        labels, scores = instances.labels[indices].tolist(), instances.scores[indices].tolist()
        for row, (index, track) in enumerate(seen):
            track.box, track.motion, track.embedding = boxes[row], motions[row], looks[row]
            track.mask = instances.mask_crops[index]
            track.vote(labels[row], scores[row])
            track.last_seen = self._now
            track.seen += 1
            track.missed -= 1
            if track.state == TrackState.LOST or track.seen >= self.settings.confirm_after:
                track.state = TrackState.CONFIRMED

    def _start(self, owners: list[_Track | None], frame: _Frame) -> None:
        """Begin a track for each sure detection that continues none and is nobody's double."""
        s, instances = self.settings, frame.instances
        sure = (instances.scores >= s.new_score).tolist()
        fresh = [i for i, owner in enumerate(owners) if owner is None and sure[i]]
        if not fresh:
            return
        motions = first_motions(instances.boxes[fresh])
        doubles_of = self._doubles(fresh, frame)
        for index, motion, doubles in zip(fresh, motions, doubles_of, strict=True):
            doubles &= [track is not None for track in owners]
            if doubles.any() or not self._make_room():
                continue
            label, score = int(instances.labels[index]), float(instances.scores[index])
            track = _Track(
                id=self.next_id,
                box=instances.boxes[index].copy(),
                motion=motion,
                expected=motion,
                mask=instances.mask_crops[index],
                embedding=frame.looks[index],
                label=label,
                votes={label: score},
                last_seen=self._now,
                born=self._frame,
                state=TrackState.CONFIRMED if s.confirm_after == 1 else TrackState.NEW,
            )
            self.next_id += 1
            self._tracks.append(track)
            owners[index] = track

    def _doubles(self, chosen: list[int], frame: _Frame) -> NDArray[np.bool_]:
        """Which of the N detections are of the same object as each of the C chosen: (C, N)."""
        boxes = frame.instances.boxes
        box_iou, _ = _overlaps(boxes[chosen], boxes, np.zeros(len(chosen), np.float32))
        overlap = sampled_iou(frame.samples[chosen], frame.samples, otherwise=box_iou)
        return overlap > self.settings.duplicate_iou

    def _make_room(self) -> bool:
        """Whether there is a place for another track, if need be that of one that is not seen."""
        if len(self._tracks) < self.settings.max_tracks:
            return True
        longest_unseen = min(self._tracks, key=lambda track: track.last_seen)
        if longest_unseen.last_seen == self._now:
            return False
        self._tracks.remove(longest_unseen)
        return True


def _pairs(worth: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Rows and columns of the one to one assignment of the highest sum, without those of 0."""
    if not worth.any():
        return []
    pairs = zip(*linear_sum_assignment(worth, maximize=True), strict=True)
    return [(int(row), int(column)) for row, column in pairs if worth[row, column] > 0]


def _overlaps(
    a: NDArray[np.float32], b: NDArray[np.float32], growth: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of boxes (N, 4) and (M, 4), after both grow on each side: (N, M) each.

    The first is IoU, the second the share of the smaller box that lies within the other. growth:
    (N,), by how many of a box's sides, as in Yang et al., "Hard to Track Objects with Irregular
    Motions and Similar Appearances?", WACV 2023.
    """
    common, area_a, area_b = (np.ones((1, 1), np.float32) for _ in range(3))
    for axis in (0, 1):  # each by itself, for arrays (N, M, 2) are several times as slow
        (low_a, high_a), (low_b, high_b) = (
            _grown(box[..., axis], box[..., axis + 2], growth[:, None]) for box in (a[:, None], b)
        )
        common = common * (np.minimum(high_a, high_b) - np.maximum(low_a, low_b)).clip(min=0)
        area_a = area_a * (high_a - low_a).clip(min=0)  # (N, 1)
        area_b = area_b * (high_b - low_b).clip(min=0)  # (N, M)
    tiny = np.finfo(np.float32).tiny
    union, smaller = area_a + area_b - common, np.minimum(area_a, area_b)
    return common / np.maximum(union, tiny), common / np.maximum(smaller, tiny)


def _grown(
    low: NDArray[np.float32], high: NDArray[np.float32], growth: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    margin = (high - low) * growth
    return low - margin, high + margin


def _rows(vectors: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Vectors of equal length as the rows of a matrix; (0, 0) without any."""
    rows = list(vectors)
    return np.array(rows) if rows else np.zeros((0, 0), np.float32)


def _normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
