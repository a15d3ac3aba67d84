"""YouTube-VIS's average precision: COCO's protocol on masks that span a whole video."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from sipmask_core.data.document import merged_rle

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from sipmask_core.data.youtube_vis import Track, Video, VideoAnnotations
    from sipmask_core.results import Result

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Masks = Sequence[dict[str, Any] | None]  # of one object: an RLE per frame

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # T: .50, .55 to .95
RECALL_POINTS = np.linspace(0, 1, 101)  # R
MAX_RESULTS = 100  # per video and class
AREA_RANGES = {  # pixels, both ends inclusive
    "": (0, 1e10),
    "s": (0, 128**2),
    "m": (128**2, 256**2),
    "l": (256**2, 1e10),
}


@dataclass(frozen=True)
class Scores:
    """Figures named as in METRICS, in [0, 1], or -1 where there is nothing to find.

    overall: their means over the classes that have ground truth; by_class: by class name.
    """

    overall: dict[str, float]
    by_class: dict[str, dict[str, float]]


def score(annotations: VideoAnnotations, results: list[Result]) -> Scores:
    """The official figures of results as `read_results` gives them.

    A result has video_id, category_id, score, and segmentations: a compressed RLE per frame of the
    video, None where the object is not seen.
    """
    found: dict[tuple[int, int], list[Result]] = defaultdict(list)  # by video and category
    for result in results:
        found[result["video_id"], result["category_id"]].append(result)
    comparisons: list[list[_Comparison]] = [[] for _ in annotations.class_names]
    for video in sorted(annotations.videos, key=lambda video: video.id):
        for label, category_id in enumerate(annotations.category_ids):
            tracks = [track for track in video.tracks if track.label == label]
            in_video = found.get((video.id, category_id), [])
            if tracks or in_video:
                comparisons[label].append(_compare(video, tracks, in_video))
    # (classes, metrics), NaN where there is nothing to find
    table = np.array([_figures(of_class) for of_class in comparisons])
    means = (column[~np.isnan(column)] for column in table.T)
    return Scores(
        _named([column.mean() if len(column) else -1 for column in means]),
        {
            name: _named(np.nan_to_num(row, nan=-1))
            for name, row in zip(annotations.class_names, table, strict=True)
        },
    )


def format_scores(scores: Scores) -> str:
    """A table of the figures: a row for all classes together, then one per class."""
    rows = {"all": scores.overall, **scores.by_class}
    width = max(len(name) for name in rows) + 2
    header = " " * width + "".join(f"{name:>8}" for name in METRICS)
    lines = (
        f"{name:<{width}}" + "".join(f"{values[metric]:>8.3f}" for metric in METRICS)
        for name, values in rows.items()
    )
    return "\n".join([header, *lines])


def track_ious(results: Sequence[Masks], truth: Sequence[Masks]) -> Floats:
    """Spatio-temporal IoU (D, G) of D results and G true tracks with masks in the same F frames.

    Intersections and unions are summed over the frames before they are divided; a mask in a frame
    where the other track has none counts in the union. 0 where there is no pixel at all.
    """
    areas, truth_areas = _areas(results), _areas(truth)  # (D, F), (G, F)
    intersection = np.zeros((len(results), len(truth)))
    for frame in range(min(areas.shape[1], truth_areas.shape[1])):
        d, masks = _visible([track[frame] for track in results])
        g, truth_masks = _visible([track[frame] for track in truth])
        if d and g:
            # Against a crowd, pycocotools divides by the result's area alone: times that area it
            # is a number of pixels again.
            shares = coco_mask.iou(masks, truth_masks, [True] * len(g))
            intersection[np.ix_(d, g)] += np.rint(shares * areas[d, frame, None])
    union = areas.sum(1)[:, None] + truth_areas.sum(1) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def _named(values: Any) -> dict[str, float]:
    return {name: float(value) for name, value in zip(METRICS, values, strict=True)}


def _visible(masks: Masks) -> tuple[list[int], list[dict[str, Any]]]:
    found = [(index, mask) for index, mask in enumerate(masks) if mask is not None]
    return [index for index, _ in found], [mask for _, mask in found]


def _areas(tracks: Sequence[Masks]) -> Floats:
    """Pixels of each mask, (tracks, frames); 0 where there is none."""
    areas = np.zeros((len(tracks), len(tracks[0]) if tracks else 0))
    for row, masks in zip(areas, tracks, strict=True):
        frames, visible = _visible(masks)
        row[frames] = coco_mask.area(visible)
    return areas


def _mean_area(areas: Iterable[float]) -> float:
    """Of one track, over the frames in which there is anything of it."""
    visible = [area for area in areas if area]
    return sum(visible) / len(visible) if visible else 0.0


class _Comparison(NamedTuple):
    """The D results, by falling score, and G true tracks of one class in one video."""

    scores: Floats  # (D,)
    areas: Floats  # (D,)
    truth_areas: Floats  # (G,)
    crowd: Bools  # (G,)
    ious: Floats  # (D, G)


def _compare(video: Video, tracks: list[Track], results: list[Result]) -> _Comparison:
    results = sorted(results, key=lambda result: -result["score"])[:MAX_RESULTS]
    masks = [result["segmentations"] for result in results]
    size = (video.height, video.width)
    truth = [
        [None if shape is None else merged_rle(shape.segmentation, size) for shape in track.shapes]
        for track in tracks
    ]
    annotated = ([shape.area for shape in track.shapes if shape] for track in tracks)
    return _Comparison(
        scores=np.array([result["score"] for result in results], float),
        areas=np.array([_mean_area(areas) for areas in _areas(masks)], float),
        truth_areas=np.array([_mean_area(areas) for areas in annotated], float),
        crowd=np.array([track.is_crowd for track in tracks], bool),
        ious=track_ious(masks, truth),
    )


class _Outcome(NamedTuple):
    """What became of the D results of one class in one video; what is neither is ignored."""

    scores: Floats  # (D,)
    hits: Bools  # (T, D)
    alarms: Bools  # (T, D)
    targets: int  # true tracks to find


def _match(pair: _Comparison, area_range: tuple[float, float]) -> _Outcome:
    """COCO's greedy assignment at every threshold; a crowd may take many results."""
    low, high = area_range
    ignored = pair.crowd | (pair.truth_areas < low) | (pair.truth_areas > high)
    outside = (pair.areas < low) | (pair.areas > high)
    taken = np.zeros((len(THRESHOLDS), len(ignored)), bool)
    hits = np.zeros((len(THRESHOLDS), len(outside)), bool)
    alarms = np.tile(~outside, (len(THRESHOLDS), 1))
    for d in np.flatnonzero((pair.ious >= THRESHOLDS[0]).any(1)):
        # Best first: what counts before what is ignored, then by IoU, the later one on a tie.
        order = np.lexsort((np.arange(len(ignored)), pair.ious[d], ~ignored))[::-1]
        possible = pair.ious[d, order] >= THRESHOLDS[:, None]
        possible &= pair.crowd[order] | ~taken[:, order]
        matched = np.flatnonzero(possible.any(1))
        choice = order[possible.argmax(1)[matched]]
        taken[matched, choice] = True
        hits[matched, d] = ~ignored[choice]
        alarms[matched, d] = False
    return _Outcome(pair.scores, hits, alarms, int(np.count_nonzero(~ignored)))


def _curve(outcomes: list[_Outcome], limit: int) -> tuple[Floats, Floats]:
    """Average precision and recall (T,) when each video gives its `limit` best results.

    Both are NaN when there is nothing to find.
    """
    targets = sum(outcome.targets for outcome in outcomes)
    if not targets:
        nothing = np.full(len(THRESHOLDS), np.nan)
        return nothing, nothing
    ranks = np.argsort(-np.concatenate([o.scores[:limit] for o in outcomes]), kind="stable")
    hits = np.concatenate([o.hits[:, :limit] for o in outcomes], axis=1)[:, ranks].cumsum(1)
    alarms = np.concatenate([o.alarms[:, :limit] for o in outcomes], axis=1)[:, ranks].cumsum(1)
    recall = hits / targets  # (T, all D)
    precision = hits / np.maximum(hits + alarms, 1)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    precision = np.pad(precision, ((0, 0), (0, 1)))  # 0 where a recall is not reached
    sampled = [p[np.searchsorted(r, RECALL_POINTS)] for p, r in zip(precision, recall, strict=True)]
    return np.mean(sampled, axis=1), recall.max(axis=1, initial=0)


def _figures(comparisons: list[_Comparison]) -> list[float]:
    """One class's figures in the order of METRICS, NaN where there is nothing to find."""
    curves = {}
    for size, area_range in AREA_RANGES.items():
        outcomes = [_match(pair, area_range) for pair in comparisons]
        for limit in (1, 10, MAX_RESULTS):
            curves[size, limit] = _curve(outcomes, limit)
    precision, _ = curves["", MAX_RESULTS]
    return [
        float(precision.mean()),
        float(precision[0]),
        float(precision[5]),
        *(float(curves[size, MAX_RESULTS][0].mean()) for size in "sml"),
        *(float(curves["", limit][1].mean()) for limit in (1, 10, MAX_RESULTS)),
        *(float(curves[size, MAX_RESULTS][1].mean()) for size in "sml"),
    ]
