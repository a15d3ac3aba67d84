"""YouTube-VIS's average precision: COCO's protocol on masks that span a whole video."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco_mask

from sipmask_core.data.rle import areas as rle_areas
from sipmask_core.data.shapes import region
from sipmask_core.evaluation.average_precision import (
    MAX_RESULTS,
    METRICS,
    Comparison,
    Scores,
    curves,
    summarise,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from sipmask_core.data.coco_results import Result
    from sipmask_core.data.youtube_vis import Track, Video, VideoAnnotations

    Floats = NDArray[np.float64]
    Masks = Sequence[dict[str, Any] | None]  # of one object: an RLE per frame

# all, small, medium, large; in pixels, both ends inclusive
AREA_RANGES = ((0, 1e10), (0, 128**2), (128**2, 256**2), (256**2, 1e10))


def score(annotations: VideoAnnotations, results: list[Result]) -> Scores:
    """Compute the official figures of results as `read_results` gives them.

    A result has video_id, category_id, score, and segmentations: a compressed RLE per frame of the
    video, None if the object is not seen.
    """
    found: dict[tuple[int, int], list[Result]] = defaultdict(list)  # by video and category
    for result in results:
        found[result["video_id"], result["category_id"]].append(result)
    comparisons: list[list[Comparison]] = [[] for _ in annotations.class_names]
    for video in sorted(annotations.videos, key=lambda video: video.id):
        for label, category_id in enumerate(annotations.category_ids):
            tracks = [track for track in video.tracks if track.label == label]
            in_video = found.get((video.id, category_id), [])
            if tracks or in_video:
                comparisons[label].append(_compare(video, tracks, in_video))
    return summarise(
        {
            name: curves(of_class, AREA_RANGES)
            for name, of_class in zip(annotations.class_names, comparisons, strict=True)
        }
    )


def format_scores(scores: Scores) -> str:
    """Format a table of figures: all classes together, then each one that has ground truth."""
    rows = {"all": scores.overall}
    rows |= {name: values for name, values in scores.by_class.items() if values["AP"] > -1}
    width = max(len(name) for name in rows) + 2
    header = " " * width + "".join(f"{name:>8}" for name in METRICS)
    lines = (
        f"{name:<{width}}" + "".join(f"{values[metric]:>8.3f}" for metric in METRICS)
        for name, values in rows.items()
    )
    return "\n".join([header, *lines])


def track_ious(results: Sequence[Masks], truth: Sequence[Masks]) -> Floats:
    """Compute the IoU over all F frames (D, G) of D results and G true tracks.

    Intersections and unions are summed over the frames before they are divided; a mask in a frame
    where the other track has none counts in the union. 0 if there is no pixel at all.
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


def _visible(masks: Masks) -> tuple[list[int], list[dict[str, Any]]]:
    found = [(index, mask) for index, mask in enumerate(masks) if mask is not None]
    return [index for index, _ in found], [mask for _, mask in found]


def _areas(tracks: Sequence[Masks]) -> Floats:
    """Count the pixels of each mask, (tracks, frames); 0 where there is none."""
    areas = np.zeros((len(tracks), len(tracks[0]) if tracks else 0))
    for row, masks in zip(areas, tracks, strict=True):
        frames, visible = _visible(masks)
        row[frames] = rle_areas(visible)
    return areas


def _mean_area(areas: Iterable[float]) -> float:
    """Average the areas of one track over the frames in which there is anything of it."""
    visible = [area for area in areas if area]
    return sum(visible) / len(visible) if visible else 0.0


def _compare(video: Video, tracks: list[Track], results: list[Result]) -> Comparison:
    results = sorted(results, key=lambda result: -result["score"])[:MAX_RESULTS]
    masks = [result["segmentations"] for result in results]
    size = (video.height, video.width)
    truth = [
        [None if shape is None else region(shape, size) for shape in track.shapes]
        for track in tracks
    ]
    annotated = ([shape.area for shape in track.shapes if shape] for track in tracks)
    return Comparison.of_one(
        scores=np.array([result["score"] for result in results], float),
        areas=np.array([_mean_area(areas) for areas in _areas(masks)], float),
        truth_areas=np.array([_mean_area(areas) for areas in annotated], float),
        crowd=np.array([track.is_crowd for track in tracks], bool),
        ious=track_ious(masks, truth),
    )
