"""How well ids hold over a video: HOTA, IDF1 and MOTA on masks, by TrackEval's definitions.

HOTA: Luiten et al., IJCV 2021. IDF1: Ristani et al., ECCV workshops 2016. MOTA: Bernardin and
Stiefelhagen, JIVP 2008; on masks: Voigtlaender et al., CVPR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ids = NDArray[np.int64]

RATES = ("HOTA", "DetA", "AssA", "LocA", "IDF1", "IDP", "IDR", "MOTA")
METRICS = (*RATES, "id_switches", "fragmentations")

THRESHOLDS = np.arange(1, 20) / 20  # HOTA's A mask IoUs: .05, .10 to .95
MATCH_THRESHOLD = 0.5  # mask IoU for IDF1 and MOTA


@dataclass(frozen=True)
class TrackedFrame:
    """The objects of one frame: ids (N,) from 0 on, masks (N,) as compressed RLEs, labels (N,).

    Labels are only needed to score one class. Raise ValueError if the lengths differ.
    """

    ids: Sequence[int]
    masks: Sequence[dict[str, Any]]
    labels: Sequence[int] | None = None

    def __post_init__(self) -> None:
        lengths = [
            len(self.ids),
            len(self.masks),
            len(self.masks if self.labels is None else self.labels),
        ]
        if len(set(lengths)) > 1:
            raise ValueError(f"{lengths[0]} ids, {lengths[1]} masks and {lengths[2]} labels")

    def of_class(self, label: int) -> TrackedFrame:
        """Return the objects of one class. Raise InputError if the frame has no labels."""
        if self.labels is None:
            raise InputError("Frames without labels cannot be scored by class.")
        chosen = [i for i, own in enumerate(self.labels) if own == label]
        return TrackedFrame([self.ids[i] for i in chosen], [self.masks[i] for i in chosen])


@dataclass(frozen=True)
class TrackingCounts:
    """What is counted in one video; the counts of several are added.

    true_objects, results: masks in all frames; a hit is a pair of them.
    At HOTA's thresholds, hits (A,): their number; association (A,): the sum over them of the share
    of both tracks that is hits of this pair of tracks; overlap (A,): the sum of their IoUs.
    id_hits: of the best assignment of whole tracks to each other (IDF1).
    frame_hits, id_switches, fragmentations: of MOTA's frame by frame assignment.
    """

    true_objects: int
    results: int
    hits: Floats
    association: Floats
    overlap: Floats
    id_hits: int
    frame_hits: int
    id_switches: int
    fragmentations: int

    def __add__(self, other: TrackingCounts) -> TrackingCounts:
        return TrackingCounts(
            *(getattr(self, field.name) + getattr(other, field.name) for field in fields(self))
        )

    def metrics(self) -> dict[str, float]:
        """Return figures named as in METRICS, at best 1 but for the counts; MOTA can be negative.

        HOTA, DetA, AssA and LocA are means over the thresholds. At one without hits, LocA is 1.
        """
        both = self.true_objects + self.results
        detection = self.hits / np.maximum(both - self.hits, 1)
        association = self.association / np.maximum(self.hits, 1)
        localisation = np.where(self.hits > 0, self.overlap / np.maximum(self.hits, 1), 1)
        false_alarms = self.results - self.frame_hits
        values = (
            np.sqrt(detection * association).mean(),
            detection.mean(),
            association.mean(),
            localisation.mean(),
            2 * self.id_hits / max(both, 1),
            self.id_hits / max(self.results, 1),
            self.id_hits / max(self.true_objects, 1),
            (self.frame_hits - false_alarms - self.id_switches) / max(self.true_objects, 1),
            self.id_switches,
            self.fragmentations,
        )
        return {name: float(value) for name, value in zip(METRICS, values, strict=True)}


def count_tracks(
    truth: Sequence[TrackedFrame], results: Sequence[TrackedFrame], label: int | None = None
) -> TrackingCounts:
    """Compare the tracks of one video with the true ones, of one class or whatever their classes.

    Raise InputError if the two differ in length, or if a frame has an id twice, a negative one, or
    masks of different sizes.
    """
    if len(truth) != len(results):
        raise InputError(f"The video has {len(truth)} frames, its results have {len(results)}.")
    if label is not None:
        truth = [frame.of_class(label) for frame in truth]
        results = [frame.of_class(label) for frame in results]
    true_tracks, true_lengths = _numbered(truth, "the ground truth")
    result_tracks, result_lengths = _numbered(results, "the results")
    ious = [_ious(n, *pair) for n, pair in enumerate(zip(truth, results, strict=True))]
    # Frames without a pair add nothing and, by TrackEval's rule, do not interrupt MOTA's stretches.
    frames = [_Frame(*f) for f in zip(true_tracks, result_tracks, ious, strict=True) if f[2].size]
    hits, association, overlap = _count_hota(frames, true_lengths, result_lengths)
    frame_hits, id_switches, fragmentations = _count_mota(frames, len(true_lengths))
    return TrackingCounts(
        true_objects=int(true_lengths.sum()),
        results=int(result_lengths.sum()),
        hits=hits,
        association=association,
        overlap=overlap,
        id_hits=_count_id_hits(frames, len(true_lengths), len(result_lengths)),
        frame_hits=frame_hits,
        id_switches=id_switches,
        fragmentations=fragmentations,
    )


class _Frame(NamedTuple):
    """The numbers of the G true tracks and P result tracks that one frame shows, and their IoUs."""

    truth: Ids  # (G,)
    results: Ids  # (P,)
    ious: Floats  # (G, P)


def _numbered(frames: Sequence[TrackedFrame], where: str) -> tuple[list[Ids], Ids]:
    """Give tracks numbers from 0 on; return those in each frame, and how many frames show each."""
    numbers: dict[int, int] = {}
    tracks = []
    for index, frame in enumerate(frames):
        ids = [int(i) for i in frame.ids]
        if len(set(ids)) < len(ids) or min(ids, default=0) < 0:
            raise InputError(f"Frame {index} of {where} has ids {ids}, expected each once, from 0.")
        tracks.append(np.array([numbers.setdefault(i, len(numbers)) for i in ids], np.int64))
    lengths = np.zeros(len(numbers), np.int64)
    for in_frame in tracks:
        lengths[in_frame] += 1
    return tracks, lengths


def _ious(index: int, truth: TrackedFrame, results: TrackedFrame) -> Floats:
    """Compute the mask IoUs (G, P) in one frame."""
    sizes = {tuple(mask["size"]) for frame in (truth, results) for mask in frame.masks}
    if len(sizes) > 1:
        raise InputError(f"Frame {index} has masks of different sizes: {sorted(sizes)}.")
    if not truth.masks or not results.masks:
        return np.zeros((len(truth.masks), len(results.masks)))
    ious: Floats = coco_mask.iou(truth.masks, results.masks, [False] * len(results.masks))
    return ious


def _count_hota(
    frames: list[_Frame], true_lengths: Ids, result_lengths: Ids
) -> tuple[Floats, Floats, Floats]:
    """Count hits, association and overlap (A,), see `TrackingCounts`.

    Pairs are assigned frame by frame so as to favour tracks that go together in the whole video.
    """
    both_lengths = true_lengths[:, None] + result_lengths
    shared = np.zeros(both_lengths.shape)  # frames that two tracks have in common, weighted
    for truth, results, ious in frames:
        rivals = ious.sum(0) + ious.sum(1)[:, None] - ious
        shared[np.ix_(truth, results)] += np.divide(
            ious, rivals, out=np.zeros_like(ious), where=rivals > 0
        )
    affinity = shared / (both_lengths - shared)
    overlap = np.zeros(len(THRESHOLDS))
    pair_hits = np.zeros((len(THRESHOLDS), *shared.shape))
    for truth, results, ious in frames:
        g, p = linear_sum_assignment(affinity[np.ix_(truth, results)] * ious, maximize=True)
        reached = ious[g, p] >= THRESHOLDS[:, None]  # (A, min(G, P))
        overlap += (reached * ious[g, p]).sum(1)
        pair_hits[:, truth[g], results[p]] += reached
    association = (pair_hits**2 / (both_lengths - pair_hits)).sum((1, 2))
    return pair_hits.sum((1, 2)), association, overlap


def _count_id_hits(frames: list[_Frame], true_tracks: int, result_tracks: int) -> int:
    """Count hits if each true track gets, at best, one result track for the whole video."""
    shared = np.zeros((true_tracks, result_tracks), np.int64)
    for truth, results, ious in frames:
        shared[np.ix_(truth, results)] += ious >= MATCH_THRESHOLD
    return int(shared[linear_sum_assignment(shared, maximize=True)].sum())


def _count_mota(frames: list[_Frame], true_tracks: int) -> tuple[int, int, int]:
    """Count hits, id switches and fragmentations; a pair of the frame before is kept if it can be.

    An id switch is counted when an object is found again under another id, after a gap as well.
    """
    nobody = -1
    last = np.full(true_tracks, nobody)  # the result track that found it last
    before = np.full(true_tracks, nobody)  # the one that found it in the frame before
    stretches = np.zeros(true_tracks, np.int64)
    hits = switches = 0
    for truth, results, ious in frames:
        kept = before[truth][:, None] == results
        worth = np.where(ious >= MATCH_THRESHOLD, 1000 * kept + ious, 0)
        g, p = linear_sum_assignment(worth, maximize=True)
        matched = worth[g, p] > 0
        found, finder = truth[g[matched]], results[p[matched]]
        hits += len(found)
        switches += np.count_nonzero((last[found] != nobody) & (last[found] != finder))
        stretches[found] += before[found] == nobody
        last[found] = finder
        before[:] = nobody
        before[found] = finder
    return hits, int(switches), int(np.maximum(stretches - 1, 0).sum())
