"""A predictor and a tracker over the videos of a YouTube-VIS file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from sipmask_core.classes import corresponding_ids
from sipmask_core.data.coco import CocoImage, read_annotated_image, require_images
from sipmask_core.errors import InputError
from sipmask_core.results import youtube_vis_results
from sipmask_core.tracking import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sipmask_core.data.youtube_vis import Video, VideoAnnotations
    from sipmask_core.instances import Instances
    from sipmask_core.predictor import Predictor
    from sipmask_core.results import Result
    from sipmask_core.tracking import Mode


class VideoDetector:
    """Finds and follows the objects of one video after the other, each with a fresh tracker.

    Classes correspond by name; tracks of those that the file lacks are left out.
    image_dir: where the frames are under the names that the file gives them.
    fps: frames per second, by which the online mode tells how much time passes; 30 where None.
    seconds: how long model and tracker together took for each frame so far.

    Raises InputError when the file has none of the model's classes, or a frame is missing.
    """

    def __init__(
        self,
        predictor: Predictor,
        annotations: VideoAnnotations,
        image_dir: Path,
        mode: Mode,
        fps: float | None = None,
    ) -> None:
        if fps is not None and mode != "online":
            raise InputError(f"The mode {mode} has no use for fps; online has.")
        if fps is not None and not 0 < fps <= 1000:
            raise InputError(f"fps is {fps}; it must be above 0 and at most 1000.")
        self._category_ids = corresponding_ids(predictor.class_names, annotations)
        require_images(annotations.frames(), image_dir)
        self._predictor = predictor
        self._image_dir = image_dir
        self._mode = mode
        self._fps = fps
        self.seconds: list[float] = []

    def warm_up(self, video: Video) -> None:
        """Run the model once, so that no frame has to pay for what only the first one costs."""
        self._predictor(np.zeros((video.height, video.width, 3), np.uint8))

    def results(self, video: Video, after_frame: Callable[[], object]) -> list[Result]:
        """The tracks of one video in YouTube-VIS's results format.

        Raises InputError for a frame that is damaged or not of the annotated size.
        """
        frames = self._tracked(video, after_frame)
        return youtube_vis_results(frames, video.id, self._category_ids)

    def _tracked(self, video: Video, after_frame: Callable[[], object]) -> Iterator[Instances]:
        tracker = Tracker(self._mode)
        for index, name in enumerate(video.file_names):
            record = CocoImage(index, name, video.height, video.width, ())
            image = read_annotated_image(self._image_dir, record)
            began = time.perf_counter()
            stamp = None if self._fps is None else index / self._fps
            instances = tracker.update(self._predictor(image), stamp)
            self.seconds.append(time.perf_counter() - began)
            after_frame()
            yield instances
