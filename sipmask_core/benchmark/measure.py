"""Timing contenders in turn, so that what disturbs the machine disturbs all of them alike."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import torch

from sipmask_core.runtime.stopwatch import Stopwatch, distribution, stage, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sipmask_core.benchmark.contenders import Contender
    from sipmask_core.benchmark.images import Photo
    from sipmask_core.inference.predictor import Predictor

NETWORK = ("upload", "network", "backbone", "neck", "head")
POSTPROCESS = ("nms", "masks", "rle")
# In the order in which an image goes through them. "network": what a recorded graph does not
# divide; "other": between the stages.
STAGES = ("decode", "preprocess", *NETWORK, *POSTPROCESS, "other")


class Run(NamedTuple):
    """One image through one contender: seconds by stage, and the instances it found.

    whole: seconds of another run, in which no stage is timed; None on a CPU, where timing stages
    costs nothing. A GPU is waited for at the ends of stages, and they cannot overlap.
    """

    seconds: dict[str, float]
    instances: int
    whole: float | None = None


def measure(
    contenders: Mapping[str, Contender],
    photos: Sequence[Photo],
    device: torch.device,
    *,
    warmup: int,
    runs: int,
    progress: Callable[[], object],
) -> dict[str, list[Run]]:
    """Run every contender, photographs and contenders taking turns; return the counted runs.

    progress: called after each run of a contender, counted or not.
    """
    results: dict[str, list[Run]] = {name: [] for name in contenders}
    for number in range(warmup + runs):
        photo = photos[number % len(photos)]
        for name, contender in contenders.items():
            run = run_once(contender, photo, device)
            if number >= warmup:
                results[name].append(run)
            progress()
    return results


def run_once(contender: Contender, photo: Photo, device: torch.device) -> Run:
    """Run a contender on a photograph, from its encoded form on; on a GPU, twice."""
    with Stopwatch().listening(device) as stopwatch, stage("other"):
        instances = _once(contender, photo)
    if device.type != "cuda":
        return Run(stopwatch.seconds, instances)
    start = time.perf_counter()
    _once(contender, photo)  # run lengths are on the CPU, so all is done when it returns
    return Run(stopwatch.seconds, instances, time.perf_counter() - start)


def _once(contender: Contender, photo: Photo) -> int:
    with stage("decode"):
        image = np.asarray(cv2.imdecode(photo.encoded, cv2.IMREAD_COLOR), np.uint8)
    return contender(image)


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Sum up the runs of one contender, in milliseconds.

    The means of "stages" sum to that of "total"; "network" and "postprocess" are sums of stages in
    each run; "whole" is the time without stages, None if it was not taken; "instances" is the mean
    number.
    """
    whole = [run.whole for run in runs if run.whole is not None]
    present = [s for s in STAGES if any(s in run.seconds for run in runs)]
    return {
        "stages": {name: _timing(runs, (name,)) for name in present},
        "total": _timing(runs, STAGES),
        "whole": timing(whole) if whole else None,
        "network": _timing(runs, NETWORK),
        "postprocess": _timing(runs, POSTPROCESS),
        "instances": float(np.mean([run.instances for run in runs])),
    }


def _timing(runs: Sequence[Run], stages: Sequence[str]) -> dict[str, float]:
    return timing([sum(run.seconds.get(name, 0.0) for name in stages) for run in runs])


def timing(seconds: Sequence[float]) -> dict[str, float]:
    """Return mean, p50 and p99 in milliseconds."""
    found = distribution(1e3 * np.asarray(seconds))
    return {f"{name}_ms": found[name] for name in ("mean", "p50", "p99")}


def batch_timing(
    predictor: Predictor, photo: Photo, batch: int, *, warmup: int, runs: int
) -> dict[str, float]:
    """Time the network, preparation aside, on `batch` copies of an image at once."""
    prepared = predictor.prepare(photo.pixels)
    pixels = torch.from_numpy(prepared.pixels).repeat(batch, 1, 1, 1)
    seconds = []
    for _ in range(warmup + runs):
        wait_for(predictor.device)
        start = time.perf_counter()
        predictor.forward_batch(pixels, prepared.size)
        wait_for(predictor.device)
        seconds.append(time.perf_counter() - start)
    times = timing(seconds[warmup:])
    return {"batch": batch, **times, "images_per_second": 1e3 * batch / times["p50_ms"]}
