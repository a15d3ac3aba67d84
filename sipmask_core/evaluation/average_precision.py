"""COCO's protocol on overlaps: greedy matching, and precision over recall for one class.

What overlaps is the caller's affair: boxes or masks in an image, or tracks in a video. The figures
are those of pycocotools to the last bit; all thresholds and area ranges are worked off at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Integers = NDArray[np.int64]

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # T: .50, .55 to .95
RECALL_POINTS = np.linspace(0, 1, 101)  # R
LIMITS = (1, 10, 100)  # L: results per class and image that count
MAX_RESULTS = LIMITS[-1]


class Comparison(NamedTuple):
    """The D results, by falling score, and G true objects of one class in one image or video."""

    scores: Floats  # (D,), D up to MAX_RESULTS
    areas: Floats  # (D,), pixels
    truth_areas: Floats  # (G,)
    crowd: Bools  # (G,)
    ious: Floats  # (D, G)


class Curves(NamedTuple):
    """Precision and recall of one class, in A area ranges; -1 if there is nothing to find."""

    precision: Floats  # (T, R, A), the best at this recall or a higher one
    recall: Floats  # (T, A, L)


def match(pair: Comparison, area_ranges: Sequence[tuple[float, float]]) -> Integers:
    """Return the true object that each result takes, (A, T, D), or -1.

    The better result chooses first: of the objects that it overlaps enough and that no other has
    taken, one that counts in this area range before one that is ignored, then the one with the
    highest IoU, then the last. A crowd may be taken many times.
    """
    ignored = _ignored(pair, area_ranges)  # (A, G)
    rank = pair.ious.argsort(axis=1, kind="stable").argsort(axis=1)  # (D, G)
    priority = rank[:, None] + ignored.shape[1] * ~ignored  # (D, A, G)
    enough = pair.ious[:, None] >= THRESHOLDS[:, None]  # (D, T, G)
    free = np.ones((len(ignored), len(THRESHOLDS), ignored.shape[1]), bool)
    taken = np.full((*free.shape[:2], len(enough)), -1)
    for d in np.flatnonzero(enough[:, 0].any(1)):
        possible = free & enough[d]  # (A, T, G)
        best = np.where(possible, priority[d][:, None], -1).argmax(2)  # (A, T)
        a, t = possible.any(2).nonzero()
        g = best[a, t]
        taken[a, t, d] = g
        free[a, t, g] = pair.crowd[g]
    return taken


def curves(pairs: Sequence[Comparison], area_ranges: Sequence[tuple[float, float]]) -> Curves:
    """Compute precision and recall of one class over all images or videos.

    Of equal scores, the one in the earlier comparison ranks first.
    """
    nothing = [np.zeros(0)]
    scores = np.concatenate([pair.scores for pair in pairs] or nothing)  # (N,), N: all D
    areas = np.concatenate([pair.areas for pair in pairs] or nothing)
    places = np.concatenate([np.arange(len(pair.scores)) for pair in pairs] or nothing)
    # What is neither hit nor alarm is ignored.
    alarms = np.repeat(~_outside(areas, area_ranges)[:, None], len(THRESHOLDS), 1)  # (A, T, N)
    hits = np.zeros_like(alarms)
    targets: Integers = np.zeros(len(area_ranges), np.int64)
    start = 0
    for pair in pairs:
        if len(pair.crowd):
            ignored = _ignored(pair, area_ranges)
            targets += np.count_nonzero(~ignored, axis=1)
            taken = match(pair, area_ranges)
            a, t, d = (taken >= 0).nonzero()
            hits[a, t, start + d] = ~ignored[a, taken[a, t, d]]
            alarms[a, t, start + d] = False
        start += len(pair.scores)

    precision = np.full((len(THRESHOLDS), len(RECALL_POINTS), len(area_ranges)), -1.0)
    recall = np.full((len(THRESHOLDS), len(area_ranges), len(LIMITS)), -1.0)
    ranks = np.argsort(-scores, kind="stable")
    for a in targets.nonzero()[0].tolist():
        precision[:, :, a] = _precision(hits[a][:, ranks], alarms[a][:, ranks], int(targets[a]))
        for index, limit in enumerate(LIMITS):
            recall[:, a, index] = hits[a][:, places < limit].sum(1) / targets[a]
    return Curves(precision, recall)


@dataclass(frozen=True)
class Scores:
    """Figures named as in METRICS, in [0, 1], or -1 if there is nothing to find.

    overall: their means over the classes that have ground truth; by_class: by class name.
    precision: (T, R, K) of the K classes, all areas; -1 for a class without ground truth.
    """

    overall: dict[str, float]
    by_class: dict[str, dict[str, float]]
    precision: Floats = field(compare=False, repr=False)


def summarise(by_class: Mapping[str, Curves]) -> Scores:
    """Sum up the curves of all classes, in the area ranges all, small, medium and large."""
    precision = np.stack([curves.precision for curves in by_class.values()], axis=2)  # (T, R, K, A)
    recall = np.stack([curves.recall for curves in by_class.values()], axis=1)  # (T, K, A, L)
    return Scores(
        _figures(precision, recall),
        {name: _figures(precision[:, :, [k]], recall[:, [k]]) for k, name in enumerate(by_class)},
        precision[..., 0],
    )


def _figures(precision: Floats, recall: Floats) -> dict[str, float]:
    """Compute METRICS from (T, R, K, A) and (T, K, A, L): means of what is not -1, or -1."""
    values = (
        *(precision[..., 0], precision[:1, ..., 0], precision[5:6, ..., 0]),
        *(precision[..., area] for area in (1, 2, 3)),
        *(recall[:, :, 0, limit] for limit in range(len(LIMITS))),
        *(recall[:, :, area, -1] for area in (1, 2, 3)),
    )
    return {name: _mean(value) for name, value in zip(METRICS, values, strict=True)}


def _mean(values: Floats) -> float:
    given = values[values > -1]
    return float(np.mean(given)) if len(given) else -1.0


def _outside(areas: Floats, area_ranges: Sequence[tuple[float, float]]) -> Bools:
    """Return which areas (N,) lie outside the ranges, (A, N); both ends of a range are inside."""
    low, high = np.array(area_ranges, float).T[..., None]  # (A, 1) each
    return (areas < low) | (areas > high)


def _ignored(pair: Comparison, area_ranges: Sequence[tuple[float, float]]) -> Bools:
    """Return which true objects need not be found, (A, G)."""
    return pair.crowd | _outside(pair.truth_areas, area_ranges)


def _precision(hits: Bools, alarms: Bools, targets: int) -> Floats:
    """Compute (T, R) from what became of the results, (T, all D), by falling score."""
    found = hits.cumsum(1).astype(float)
    precision = found / (alarms.cumsum(1) + found + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    precision = np.pad(precision, ((0, 0), (0, 1)))  # 0 where a recall is not reached
    places = [np.searchsorted(recall, RECALL_POINTS) for recall in found / targets]
    return np.take_along_axis(precision, np.array(places), axis=1)
