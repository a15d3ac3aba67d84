"""COCO's protocol on overlaps: greedy matching, and precision over recall for one class.

What overlaps is the caller's affair: boxes or masks in an image, or tracks in a video. The figures
are those of pycocotools to the last bit; all thresholds and area ranges are worked off at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
    """The N results and M true objects of one class, in one image or video or in several.

    Results stand by image or video, there by falling score. E pairs of a result and an object of
    the same image or video overlap; they stand by result, there by object.
    """

    scores: Floats  # (N,)
    areas: Floats  # (N,), pixels
    places: Integers  # (N,), rank in the image or video, up to MAX_RESULTS
    truth_areas: Floats  # (M,)
    crowd: Bools  # (M,)
    results: Integers  # (E,), of each pair
    objects: Integers  # (E,)
    ious: Floats  # (E,), above 0

    @classmethod
    def of_one(
        cls, scores: Floats, areas: Floats, truth_areas: Floats, crowd: Bools, ious: Floats
    ) -> Comparison:
        """Compare in one image or video, by the IoU of each result and each object, (N, M)."""
        places = np.arange(len(scores))
        n, m = ious.nonzero()
        return cls(scores, areas, places, truth_areas, crowd, n, m, ious[n, m])


_NONE = np.zeros(0)
_NOTHING = Comparison.of_one(_NONE, _NONE, _NONE, np.zeros(0, bool), np.zeros((0, 0)))


class Curves(NamedTuple):
    """Precision and recall of one class, in A area ranges; -1 if there is nothing to find."""

    precision: Floats  # (T, R, A), the best at this recall or a higher one
    recall: Floats  # (T, A, L)


def match(comparison: Comparison, area_ranges: Sequence[tuple[float, float]]) -> Integers:
    """Return the true object that each result takes, (A, T, N), or -1.

    The better result chooses first: of the objects that it overlaps enough and that no other has
    taken, one that counts in this area range before one that is ignored, then the one with the
    highest IoU, then the last. A crowd may be taken many times.
    """
    ignored = _ignored(comparison, area_ranges)  # (A, M)
    shape = len(area_ranges), len(THRESHOLDS)
    taken = np.full((*shape, len(comparison.scores)), -1)
    free = np.ones((*shape, ignored.shape[1]), bool)
    close = np.flatnonzero(comparison.ious >= THRESHOLDS[0])
    # By place, so that in turn all images' first results choose, then all second ones, and so on;
    # there by result, and its objects from the least to the most wanted.
    places = comparison.places[comparison.results[close]]
    close = close[np.lexsort((comparison.ious[close], comparison.results[close], places))]
    results, objects = comparison.results[close], comparison.objects[close]  # (E,) each
    enough = comparison.ious[close] >= THRESHOLDS[:, None]  # (T, E)
    wanted = np.arange(len(close)) + len(close) * ~ignored[:, objects]  # (A, E)
    begins = np.flatnonzero(np.diff(results, prepend=-1))  # where each result's objects begin
    turns = np.flatnonzero(np.diff(comparison.places[results], prepend=-1))
    for turn in map(slice, turns, [*turns[1:], len(close)]):
        possible = free[..., objects[turn]] & enough[:, turn]  # (A, T, pairs)
        starts = begins[slice(*np.searchsorted(begins, (turn.start, turn.stop)))] - turn.start
        keys = np.where(possible, wanted[:, None, turn], -1)
        best = np.maximum.reduceat(keys, starts, axis=2)  # (A, T, results)
        a, t, r = (best >= 0).nonzero()
        pair = best[a, t, r] % len(close)
        taken[a, t, results[pair]] = objects[pair]
        free[a, t, objects[pair]] = comparison.crowd[objects[pair]]
    return taken


def curves(comparisons: Iterable[Comparison], area_ranges: Sequence[tuple[float, float]]) -> Curves:
    """Compute precision and recall of one class over all images or videos.

    Of equal scores, the one in the earlier image or video ranks first.
    """
    comparison = _joined(comparisons)
    precision = np.full((len(THRESHOLDS), len(RECALL_POINTS), len(area_ranges)), -1.0)
    recall = np.full((len(THRESHOLDS), len(area_ranges), len(LIMITS)), -1.0)
    ignored = _ignored(comparison, area_ranges)  # (A, M)
    targets = np.count_nonzero(~ignored, axis=1)  # (A,)
    if not targets.any():
        return Curves(precision, recall)

    taken = match(comparison, area_ranges)  # (A, T, N)
    counts = ~_outside(comparison.areas, area_ranges)  # (A, N), unless it takes an object
    ranks = np.argsort(-comparison.scores, kind="stable")
    # Between hits precision only falls: a result that never takes anything only adds to alarms.
    finds = taken.max((0, 1))[ranks] >= 0
    finders = ranks[finds]  # (F,)
    alarms = counts[:, ranks].cumsum(1)[:, None, finds]  # (A, 1, F)
    taken, counts = taken[..., finders], counts[:, None, finders]
    alarms = alarms - ((taken >= 0) & counts).cumsum(2)  # (A, T, F)
    hits = (taken >= 0) & ~ignored[np.arange(len(ignored))[:, None, None], taken]
    places = comparison.places[finders]
    for a in targets.nonzero()[0].tolist():
        precision[:, :, a] = _precision(hits[a], alarms[a], int(targets[a]))
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


def _joined(comparisons: Iterable[Comparison]) -> Comparison:
    """Join those of several images or videos, in order."""
    comparisons = [_NOTHING, *comparisons]
    sizes = np.array([(len(one.scores), len(one.crowd), len(one.ious)) for one in comparisons])
    results, objects, _ = (sizes.cumsum(0) - sizes).T  # where those of each begin
    whole = Comparison(*(np.concatenate(fields) for fields in zip(*comparisons, strict=True)))
    return whole._replace(
        results=whole.results + results.repeat(sizes[:, 2]),
        objects=whole.objects + objects.repeat(sizes[:, 2]),
    )


def _outside(areas: Floats, area_ranges: Sequence[tuple[float, float]]) -> Bools:
    """Return which areas (N,) lie outside the ranges, (A, N); both ends of a range are inside."""
    low, high = np.array(area_ranges, float).T[..., None]  # (A, 1) each
    return (areas < low) | (areas > high)


def _ignored(comparison: Comparison, area_ranges: Sequence[tuple[float, float]]) -> Bools:
    """Return which true objects need not be found, (A, M)."""
    return comparison.crowd | _outside(comparison.truth_areas, area_ranges)


def _precision(hits: Bools, alarms: Integers, targets: int) -> Floats:
    """Compute (T, R) from hits (T, F) by falling score, and the false alarms up to each (T, F)."""
    found = hits.cumsum(1).astype(float)
    precision = found / (alarms + found + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    precision = np.pad(precision, ((0, 0), (0, 1)))  # 0 where a recall is not reached
    places = [np.searchsorted(recall, RECALL_POINTS) for recall in found / targets]
    return np.take_along_axis(precision, np.array(places), axis=1)
