"""A model over the images of a data set: results and latencies, one image after the other."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from sipmask_core.data.classes import corresponding_ids
from sipmask_core.data.coco import read_annotated_image, require_images
from sipmask_core.data.coco_results import coco_results
from sipmask_core.inference.predictor import Predictor
from sipmask_core.runtime.stopwatch import Stopwatch, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from sipmask_core.data.coco import CocoAnnotations, CocoImage
    from sipmask_core.data.coco_results import Result
    from sipmask_core.instances import Instances
    from sipmask_core.segmenter import Segmenter

T = TypeVar("T")
U = TypeVar("U")

WORKERS = 4


class Segmented(NamedTuple):
    """The instances of one image; seconds: what each stage took."""

    image: CocoImage
    instances: Instances
    seconds: dict[str, float]


class Detected(NamedTuple):
    """The results of one image; seconds: what each stage took."""

    image_id: int
    results: list[Result]
    seconds: dict[str, float]


def detect(
    predictor: Segmenter, annotations: CocoAnnotations, image_dir: Path, workers: int = WORKERS
) -> Iterator[Detected]:
    """Run the predictor over the images of a COCO file, in order.

    Like `detect_in_required`. Raise InputError also, before the first image, if some are missing or
    look damaged.
    """
    require_images(annotations, image_dir)
    yield from detect_in_required(predictor, annotations, image_dir, workers)


def detect_in_required(
    predictor: Segmenter, annotations: CocoAnnotations, image_dir: Path, workers: int = WORKERS
) -> Iterator[Detected]:
    """Run the predictor over the images of a COCO file, which `require_images` has seen, in order.

    Results are those of `coco_results`. Classes correspond by name; those that the file lacks are
    left out. Otherwise like `segment`. Raise InputError also if no class is in common.
    """
    category_ids = corresponding_ids(predictor.class_names, annotations)
    for image, instances, seconds in segment(predictor, annotations.images, image_dir, workers):
        yield Detected(image.id, coco_results(instances, image.id, category_ids), seconds)


def segment(
    predictor: Segmenter, images: Iterable[CocoImage], image_dir: Path, workers: int = WORKERS
) -> Iterator[Segmented]:
    """Run the predictor over images, in order.

    workers: threads that decode images ahead, and prepare them if the model is a `Predictor`;
    nothing else depends on their number. The first image is also a warm-up: it is timed the second
    time. Raise InputError at the turn of an image that is damaged or not of the annotated size.
    """

    ahead_of_turn, in_turn = _halves(predictor)

    def load(record: CocoImage) -> tuple[CocoImage, Any, Stopwatch]:
        with Stopwatch().listening() as stopwatch:
            with stage("decode"):
                image = read_annotated_image(image_dir, record)
            prepared = ahead_of_turn(image)
        return record, prepared, stopwatch

    warm = False
    for record, prepared, stopwatch in ahead(load, images, workers):
        size = (record.height, record.width)
        if not warm:
            in_turn(prepared, size)
            warm = True
        with stopwatch.listening(predictor.device):
            instances = in_turn(prepared, size)
        yield Segmented(record, instances, stopwatch.seconds)


def _halves(
    segmenter: Segmenter,
) -> tuple[Callable[[NDArray[np.uint8]], Any], Callable[[Any, tuple[int, int]], Instances]]:
    """Return what can be done to an image in any thread, and what is left to do at its turn."""
    if isinstance(segmenter, Predictor):
        return segmenter.prepare, segmenter.segment
    return lambda image: image, lambda image, size: segmenter(image)


def ahead(function: Callable[[T], U], items: Iterable[T], workers: int) -> Iterator[U]:
    """Yield function(item) of each item, in order, from threads, up to two per worker ahead."""
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[U]] = deque()  # up to 2 * workers
    try:
        for item in items:
            if len(waiting) == 2 * workers:
                yield waiting.popleft().result()
            waiting.append(pool.submit(function, item))
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def format_latencies(latency: dict[str, dict[str, float]]) -> str:
    """Format the median and 99th percentile of each stage as a line for the terminal."""
    parts = (f"{name} {v['p50']:.1f} / {v['p99']:.1f}" for name, v in latency.items())
    return f"ms an image (p50 / p99): {', '.join(parts)}"
