"""HOTA, IDF1 and MOTA of results in YouTube-VIS's format, by class."""

from __future__ import annotations

from collections import defaultdict
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

from pycocotools import mask as coco_mask

from sipmask_core.data.shapes import region
from sipmask_core.evaluation.track_metrics import RATES, TrackedFrame, TrackingCounts, count_tracks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sipmask_core.data.coco_results import Result
    from sipmask_core.data.youtube_vis import Video, VideoAnnotations


def count_by_class(
    annotations: VideoAnnotations, results: list[Result]
) -> dict[str, TrackingCounts]:
    """Count over all videos what `TrackingCounts` says of each class's tracks, by class name.

    results: as `read_results` gives them; each one is a track. Crowds are left out, and so are
    masks without a pixel. A result on a track of another class is a false alarm.
    """
    found: dict[tuple[int, int], list[Result]] = defaultdict(list)  # by video and category
    for result in results:
        found[result["video_id"], result["category_id"]].append(result)
    return {
        name: together(
            _count(video, label, found.get((video.id, category_id), []))
            for video in annotations.videos
        )
        for label, (name, category_id) in enumerate(
            zip(annotations.class_names, annotations.category_ids, strict=True)
        )
    }


def together(counts: Iterable[TrackingCounts]) -> TrackingCounts:
    """Sum the counts."""
    return reduce(add, counts, count_tracks([], []))


def format_tracking(counts: dict[str, TrackingCounts]) -> str:
    """Format a table of figures: all classes together, then each one that has true objects."""
    rows = {"all": together(counts.values())}
    rows |= {name: of_class for name, of_class in counts.items() if of_class.true_objects}
    width = max(map(len, rows)) + 2
    lines = [" " * width + "".join(f"{name:>8}" for name in RATES) + f"{'id_switches':>13}"]
    for name, of_class in rows.items():
        metrics = of_class.metrics()
        rates = "".join(f"{metrics[rate]:>8.3f}" for rate in RATES)
        lines.append(f"{name:<{width}}{rates}{metrics['id_switches']:>13.0f}")
    return "\n".join(lines)


def _count(video: Video, label: int, results: list[Result]) -> TrackingCounts:
    size = (video.height, video.width)
    truth = {
        track.id: [shape and region(shape, size) for shape in track.shapes]
        for track in video.tracks
        if track.label == label and not track.is_crowd
    }
    seen = dict(enumerate(result["segmentations"] for result in results))
    frames = range(len(video.file_names) if truth or seen else 0)
    return count_tracks(
        [_visible(truth, frame) for frame in frames], [_visible(seen, frame) for frame in frames]
    )


def _visible(tracks: Mapping[int, Sequence[Any]], frame: int) -> TrackedFrame:
    masks = {number: masks[frame] for number, masks in tracks.items() if masks[frame]}
    shown = {number: mask for number, mask in masks.items() if coco_mask.area(mask)}
    return TrackedFrame(list(shown), list(shown.values()))
