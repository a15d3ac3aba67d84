"""A predictor and a tracker over the videos of a YouTube-VIS file."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from sipmask_core.data.classes import corresponding_ids
from sipmask_core.data.youtube_vis_results import youtube_vis_results
from sipmask_core.errors import InputError
from sipmask_core.evaluation.run_images import WORKERS, segment
from sipmask_core.runtime.stopwatch import Stopwatch, stage
from sipmask_core.tracking.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from sipmask_core.data.coco_results import Result
    from sipmask_core.data.youtube_vis import VideoAnnotations
    from sipmask_core.evaluation.run_images import Segmented
    from sipmask_core.instances import Instances
    from sipmask_core.segmenter import Segmenter
    from sipmask_core.tracking.tracker import Mode


class TrackedVideo(NamedTuple):
    """The tracks of one video; seconds: what each stage took, frame by frame."""

    video_id: int
    results: list[Result]
    seconds: list[dict[str, float]]


def detect_tracks(
    predictor: Segmenter,
    annotations: VideoAnnotations,
    image_dir: Path,
    mode: Mode,
    *,
    fps: float | None = None,
    workers: int = WORKERS,
    after_frame: Callable[[], object] = lambda: None,
) -> Iterator[TrackedVideo]:
    """Find and follow the objects of all videos, each with a fresh tracker.

    Results are those of `youtube_vis_results`. Classes correspond by name; tracks of those that the
    file lacks are left out. fps: frames per second, by which the online mode tells how much time
    has passed; None: 30. workers: threads that decode ahead. after_frame: for a progress bar.

    Raise InputError if `fps` is out of range or given to another mode, if no class is in common,
    and at the turn of a frame that is missing, damaged or not of the annotated size.
    """
    if fps is not None and mode != "online":
        raise InputError(f"The mode {mode} has no use for fps; online has.")
    if fps is not None and not 0 < fps <= 1000:
        raise InputError(f"fps is {fps}; it must be above 0 and at most 1000.")
    category_ids = corresponding_ids(predictor.class_names, annotations)
    seconds: list[dict[str, float]] = []

    def tracked(frames: Iterable[Segmented]) -> Iterator[Instances]:
        tracker = Tracker(mode)
        for index, frame in enumerate(frames):
            with Stopwatch().listening() as stopwatch, stage("track"):
                instances = tracker.update(frame.instances, None if fps is None else index / fps)
            seconds.append(frame.seconds | stopwatch.seconds)
            after_frame()
            yield instances

    # One stream through all videos: the next one is decoded while the model is at the last.
    frames = segment(predictor, annotations.frames().images, image_dir, workers)
    for video in annotations.videos:
        seconds = []
        of_video = tracked(islice(frames, len(video.file_names)))
        results = youtube_vis_results(of_video, video.id, category_ids)
        yield TrackedVideo(video.id, results, seconds)
