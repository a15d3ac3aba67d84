"""Ids that hold for days: an online tracker with bounded memory.

Each frame, every track is moved to where it should be by now and compared with every detection:
masks, boxes and, where the model gives them, embeddings. The Hungarian method pairs them one to
one; what is established counts more than what is still on trial.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from sipmask_core.errors import InputError
from sipmask_core.instances import UNTRACKED, TrackState
from sipmask_core.sampled_masks import sample_masks, sampled_iou

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sipmask_core.instances import Instances, MaskCrop

VELOCITY_GAIN = 0.3  # share of a surprise in position that is put down to velocity, in the long run
VELOCITY_HALF_LIFE = 0.5  # seconds after which an unseen object is thought half as fast
SEARCH_GROWTH = 0.5  # box sides per second by which boxes grow on each side for a lost track
SEARCH_LIMIT = 0.5  # box sides
ON_TRIAL = 0.5  # what the affinity of a NEW track counts against that of an established one
OTHER_LABEL = 0.25  # what an affinity between different classes counts
LABEL_MEMORY = 0.9  # of the votes for a track's class, per frame
EMBEDDING_MEMORY = 0.8  # of a track's embedding, per frame
NO_GROWTH = np.zeros(1, np.float32)
FRAME_SECONDS = 1 / 30  # pass where the stamps do not say how much time did


@dataclass(frozen=True)
class TrackerSettings:
    """How the online tracker decides.

    new_score: a detection must score this to start a track; a weaker one only continues one.
    confirm_after: frames in which an object was seen before its track is confirmed.
    min_affinity: below this (0 to 1) a track and a detection are never the same object.
    max_lost_seconds: how long a track that is not seen is looked for; also the longest time between
        two frames that ids survive.
    max_tracks: most tracks in memory; beyond, those longest unseen go first.
    duplicate_iou: a detection whose mask overlaps another tracked one's more starts no track.
    mask_weight, box_weight, embedding_weight: of mask IoU, box IoU and cosine of the embeddings in
        the affinity; embeddings count where the model gives them.

    Raises InputError for values out of range.
    """

    new_score: float = 0.4
    confirm_after: int = 3
    min_affinity: float = 0.1
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


@dataclass(eq=False)
class _Track:
    """One object: where and how it was seen last; `velocity` of each side in pixels per second."""

    id: int
    box: NDArray[np.float32]
    velocity: NDArray[np.float32]
    mask: MaskCrop
    embedding: NDArray[np.float32]
    votes: dict[int, float]  # by label
    last_seen: float
    born: int
    seen: int = 1
    missed: int = 0
    state: TrackState = TrackState.NEW

    @property
    def label(self) -> int:
        return max(self.votes, key=lambda label: self.votes[label])

    def motion(self, now: float) -> NDArray[np.float32]:
        """How far its sides have moved since it was seen: (4,) pixels."""
        # The way of a body that slows down by half every VELOCITY_HALF_LIFE.
        decay = math.log(2) / VELOCITY_HALF_LIFE
        return self.velocity * np.float32((1 - math.exp(-decay * (now - self.last_seen))) / decay)

    def vote(self, label: int, score: float) -> None:
        for known in self.votes:
            self.votes[known] *= LABEL_MEMORY
        self.votes[label] = self.votes.get(label, 0.0) + score


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

    def update(self, instances: Instances, stamp: float | None = None) -> Instances:
        """The instances of the next frame, in the same order, with track ids, states and ages.

        stamp: of the frame, seconds. Where it is None or not later than the last one, FRAME_SECONDS
        are taken to have passed. Where the image size changes, all tracks are forgotten. Raises
        InputError for a stamp that is not finite.
        """
        if stamp is not None and not math.isfinite(stamp):
            raise InputError(f"stamp is {stamp}; it must be a finite number of seconds.")
        with self._lock:
            self._advance(instances.image_size, stamp)
            owners = self._assign(instances)
            self._continue(owners, instances)
            self._start(owners, instances)
            return replace(
                instances,
                track_ids=np.array([t.id if t else UNTRACKED for t in owners], np.int64),
                track_states=np.array([t.state if t else 0 for t in owners], np.uint8),
                track_ages=np.array([self._frame - t.born if t else 0 for t in owners], np.int64),
            )

    def _advance(self, image_size: tuple[int, int], stamp: float | None) -> None:
        """Let time pass and forget the tracks that were not seen for too long."""
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

    def _assign(self, instances: Instances) -> list[_Track | None]:
        """The track that each detection continues, if any."""
        owners: list[_Track | None] = [None] * len(instances)
        affinity = self._affinity(instances)
        trust = [ON_TRIAL if t.state == TrackState.NEW else 1 for t in self._tracks]
        worth = affinity * np.array(trust, np.float32)[:, None]
        for row, column in zip(*linear_sum_assignment(worth, maximize=True), strict=True):
            if affinity[row, column] > 0:
                owners[column] = self._tracks[row]
        return owners

    def _affinity(self, instances: Instances) -> NDArray[np.float32]:
        """How well T tracks and N detections go together: (T, N) in [0, 1], 0 where impossible."""
        s, tracks = self.settings, self._tracks
        if not tracks or not len(instances):
            return np.zeros((len(tracks), len(instances)), np.float32)
        motion = np.stack([t.motion(self._now) for t in tracks])  # (T, 4)
        unseen = np.array([self._now - t.last_seen for t in tracks], np.float32)
        growth = SEARCH_GROWTH * np.maximum(0, unseen - 2 * FRAME_SECONDS)
        boxes = np.stack([t.box for t in tracks]) + motion
        box_iou = _iou(boxes, instances.boxes, np.minimum(growth, SEARCH_LIMIT))
        total, weight = s.box_weight * box_iou, s.box_weight
        if s.mask_weight:
            size = instances.image_size
            shifts = motion.reshape(-1, 2, 2).mean(axis=1)
            expected = sample_masks([t.mask for t in tracks], size, shifts)
            found = sample_masks(instances.mask_crops, size)
            total += s.mask_weight * sampled_iou(expected, found, otherwise=box_iou)
            weight += s.mask_weight
        if s.embedding_weight and instances.embeddings.shape[1]:
            looks = _normalised(np.stack([t.embedding for t in tracks]))
            cosine = looks @ _normalised(instances.embeddings).T
            total += s.embedding_weight * np.maximum(0, cosine)
            weight += s.embedding_weight
        same_label = np.array([t.label for t in tracks])[:, None] == instances.labels
        affinity: NDArray[np.float32] = total / weight * np.where(same_label, 1, OTHER_LABEL)
        affinity[(affinity < s.min_affinity) | (box_iou == 0)] = 0
        return affinity

    def _continue(self, owners: list[_Track | None], instances: Instances) -> None:
        """Write down what was seen of known tracks, and which of them were missed."""
        for track in self._tracks:
            track.missed += 1
        looks = _normalised(instances.embeddings)
        seen = [(index, track) for index, track in enumerate(owners) if track is not None]
        for index, track in seen:
            box = instances.boxes[index]
            surprise = box - (track.box + track.motion(self._now))
            # At first there is no velocity to go by, so that all of a surprise is due to it.
            gain = max(VELOCITY_GAIN, 1 / track.seen)
            # Stamps that nearly coincide would make a speed of any trembling.
            gain /= max(FRAME_SECONDS, self._now - track.last_seen)
            track.velocity = track.velocity + surprise * np.float32(gain)
            track.box, track.mask = box.copy(), instances.mask_crops[index]
            kept = np.float32(EMBEDDING_MEMORY)
            track.embedding = kept * track.embedding + (1 - kept) * looks[index]
            track.vote(int(instances.labels[index]), float(instances.scores[index]))
            track.last_seen = self._now
            track.seen += 1
            track.missed -= 1
            if track.state == TrackState.LOST or track.seen >= self.settings.confirm_after:
                track.state = TrackState.CONFIRMED
        for track in self._tracks:
            if track.state == TrackState.CONFIRMED and track.last_seen < self._now:
                track.state = TrackState.LOST
        self._tracks = [t for t in self._tracks if t.state != TrackState.NEW or t.missed <= t.seen]

    def _start(self, owners: list[_Track | None], instances: Instances) -> None:
        """Begin a track for each sure detection that continues none and is nobody's double."""
        s = self.settings
        if None not in owners:
            return
        doubled = self._doubled(instances)
        for index in range(len(instances)):
            if owners[index] is not None or instances.scores[index] < s.new_score:
                continue
            doubles = doubled[index] & [track is not None for track in owners]
            if doubles.any() or not self._make_room():
                continue
            track = _Track(
                id=self.next_id,
                box=instances.boxes[index].copy(),
                velocity=np.zeros(4, np.float32),
                mask=instances.mask_crops[index],
                embedding=_normalised(instances.embeddings[index : index + 1])[0],
                votes={int(instances.labels[index]): float(instances.scores[index])},
                last_seen=self._now,
                born=self._frame,
                state=TrackState.CONFIRMED if s.confirm_after == 1 else TrackState.NEW,
            )
            self.next_id += 1
            self._tracks.append(track)
            owners[index] = track

    def _doubled(self, instances: Instances) -> NDArray[np.bool_]:
        """Which detections of one frame are of one object: (N, N)."""
        boxes = instances.boxes
        samples = sample_masks(instances.mask_crops, instances.image_size)
        overlap = sampled_iou(samples, samples, otherwise=_iou(boxes, boxes))
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


def _iou(
    a: NDArray[np.float32], b: NDArray[np.float32], growth: NDArray[np.float32] = NO_GROWTH
) -> NDArray[np.float32]:
    """IoU of boxes (N, 4) and (M, 4), after both grow on each side: (N, M).

    growth: (N,) or (1,), by how many of a box's sides, as in Yang et al., "Hard to Track Objects
    with Irregular Motions and Similar Appearances?", WACV 2023.
    """
    a, b = _grown(a[:, None], growth), _grown(b[None], growth)  # (N, 1, 4), (N, M, 4)
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    common = (high - low).clip(min=0).prod(axis=2)
    area_a, area_b = ((x[..., 2:] - x[..., :2]).clip(min=0).prod(axis=2) for x in (a, b))
    iou: NDArray[np.float32] = common / np.maximum(
        area_a + area_b - common, np.finfo(np.float32).tiny
    )
    return iou


def _grown(boxes: NDArray[np.float32], growth: NDArray[np.float32]) -> NDArray[np.float32]:
    margin = (boxes[..., 2:] - boxes[..., :2]) * growth[:, None, None]
    return np.concatenate([boxes[..., :2] - margin, boxes[..., 2:] + margin], axis=-1)


def _normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
