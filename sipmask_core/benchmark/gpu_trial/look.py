"""A first look at the GPU's path: right results, times, waits and memory, in each precision."""

from __future__ import annotations

import argparse
import os
import time
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sipmask_core.benchmark.images import standard_images
from sipmask_core.inference.cuda_graphs import MAX_GRAPHS, CapturedGraph
from sipmask_core.inference.predictor import Predictor
from sipmask_core.runtime.devices import PRECISIONS, choose_device
from sipmask_core.runtime.files import write_json
from sipmask_core.runtime.stopwatch import distribution, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sipmask_core.instances import Instances

SIZE = (720, 1280)
THRESHOLD = 0.3


def shipped(device: str, precision: str) -> Predictor:
    """Return the predictor of the model that ships."""
    return Predictor.from_pretrained(device=device, precision=precision, score_threshold=THRESHOLD)


def milliseconds(work: Callable[[], object], device: torch.device, runs: int) -> list[float]:
    """Time a call this often, by the host's clock, until the GPU has done its part."""
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        wait_for(device)
        found.append(1e3 * (time.perf_counter() - began))
    return found


def on_gpu(work: Callable[[], object], device: torch.device, runs: int) -> float:
    """Return the median milliseconds of a call by the GPU's own clock; on a CPU, the host's."""
    if device.type != "cuda":
        return float(np.median(milliseconds(work, device, runs)))
    found = []
    with torch.cuda.device(device):
        for _ in range(runs):
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            began.record()
            work()
            ended.record()
            ended.synchronize()
            found.append(began.elapsed_time(ended))
    return float(np.median(found))


def agreement(found: Instances, expected: Instances) -> dict[str, Any]:
    """Compare instances with those expected, each of which is matched with the best box."""
    numbers: dict[str, Any] = {"found": len(found), "expected": len(expected)}
    if not len(found) or not len(expected):
        return numbers
    from torchvision.ops import box_iou

    iou = box_iou(*(torch.from_numpy(x.boxes) for x in (expected, found))).numpy()
    match = iou.argmax(axis=1)
    ours, theirs = found.masks[match], expected.masks
    masks = (ours & theirs).sum((1, 2)) / np.maximum((ours | theirs).sum((1, 2)), 1)
    return numbers | {
        "box_iou_min": float(iou.max(axis=1).min()),
        "score_difference_max": float(np.abs(found.scores[match] - expected.scores).max()),
        "mask_iou_min": float(masks.min()),
        "mask_iou_mean": float(masks.mean()),
    }


def host_waits(work: Callable[[], object], device: torch.device) -> int | None:
    """Count how often the host waits for the GPU, as far as torch sees it; None on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(warning.message) for warning in seen)


def look(
    device: torch.device, precision: str, image: NDArray[np.uint8], expected: Instances, runs: int
) -> dict[str, Any]:
    """Say how the model that ships fares in a precision; expected: what it is to find."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        began = time.perf_counter()
        predictor = Predictor.from_pretrained(
            device=str(device), precision=precision, score_threshold=THRESHOLD
        )
        wait_for(device)
        loaded = time.perf_counter() - began
        first = milliseconds(lambda: predictor(image), device, 4)
    prepared = predictor.prepare(image)
    outputs = predictor.forward(prepared)
    batch = [image] * 4
    numbers: dict[str, Any] = {
        "load_s": loaded,
        "first_calls_ms": first,
        "warnings": sorted({str(warning.message) for warning in seen}),
        "agreement": agreement(predictor(image), expected),
        "same_again": bool(np.array_equal(predictor(image).boxes, predictor(image).boxes)),
        "host_waits": host_waits(lambda: predictor(image), device),
    }
    for name, work in {
        "image_to_instances_ms": lambda: predictor(image),
        "prepare_ms": lambda: predictor.prepare(image),
        "forward_ms": lambda: predictor.forward(prepared),
        "postprocess_ms": lambda: predictor.postprocess(outputs, prepared, image.shape[:2]),
        "batch_of_4_ms": lambda: predictor.predict_batch(batch),
    }.items():
        numbers[name] = distribution(np.array(milliseconds(work, device, runs)[1:]))
    for graph in predictor.graphs[:1]:  # the batch's comes after it
        assert isinstance(graph, CapturedGraph)
        numbers["replay_ms"] = on_gpu(graph.replay, device, runs)
    numbers["sizes_in_turn_ms"] = _sizes_in_turn(predictor, image)
    if device.type == "cuda":
        numbers["allocated_bytes"] = torch.cuda.memory_allocated(device)
        numbers["reserved_bytes"] = torch.cuda.memory_reserved(device)
    return numbers


def _sizes_in_turn(predictor: Predictor, image: NDArray[np.uint8]) -> list[float]:
    """Show more sizes in turn than graphs are kept; return the mean milliseconds of each round."""
    step = (image.shape[1] - 64) // (MAX_GRAPHS + 4)
    views = [np.ascontiguousarray(image[:, : 64 + step * i]) for i in range(MAX_GRAPHS + 4)]
    rounds = []
    for _ in range(3):
        times = [milliseconds(partial(predictor, view), predictor.device, 1)[0] for view in views]
        rounds.append(float(np.mean(times)))
    return rounds


def main() -> None:
    """Look at the device in each precision that it has, and print and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("device")
    parser.add_argument("json", type=Path)
    parser.add_argument("--once", action="store_true", help="one image, without times")
    args = parser.parse_args()
    if args.once:  # for a sanitizer, which then sees where each tensor ends
        os.environ["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"
    device = choose_device(args.device)
    image = standard_images(SIZE)[0].pixels
    expected = shipped("cpu", "fp32")(image)
    numbers: dict[str, Any] = {}
    for precision in PRECISIONS:
        if args.once:
            found = Predictor.from_pretrained(
                device=args.device, precision=precision, score_threshold=THRESHOLD
            )(image)
            numbers[precision] = {"agreement": agreement(found, expected)}
        else:
            numbers[precision] = look(device, precision, image, expected, 200)
        for name, value in numbers[precision].items():
            print(f"{precision} {name}: {value}", flush=True)
        write_json(args.json, numbers)


if __name__ == "__main__":
    main()
