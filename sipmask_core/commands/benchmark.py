"""Time the predictor: one image in, instances out, as every user of it calls it.

First the whole call is timed, then each of its stages apart. The first runs are not counted.
Instances cost time, so give an --image that holds what you expect to see; the default is a
synthetic picture, in which little is found.

examples:
  sipmask benchmark --image street.jpg --threads 2
  sipmask benchmark --preset sipmask_r50_caffe_fpn_gn_1x --size 720x1280 --json r50.json
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.commands.model_arguments import (
    add_model_arguments,
    height_by_width,
    load_predictor,
    model_files,
)
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from sipmask_core.predictor import Predictor

SUMMARY = "time a model on this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sipmask benchmark`."""
    parser.add_argument(
        "--size", type=height_by_width, metavar="HxW", help="size of the image, by default 720x1280"
    )
    parser.add_argument("--image", type=Path, metavar="FILE", help="the image to segment")
    parser.add_argument("--runs", type=int, default=50, metavar="N", help="counted runs (50)")
    parser.add_argument("--warmup", type=int, default=10, metavar="N", help="runs before (10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers there")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Time, print a table, write the JSON."""
    import torch

    from sipmask_core.files import write_json
    from sipmask_core.provenance import provenance

    if args.runs < 1 or args.warmup < 0:
        raise InputError(
            f"--runs is {args.runs} and --warmup {args.warmup}; at least 1 and 0 are needed."
        )
    image = _load_image(args.image, args.size)
    predictor = load_predictor(args, allow_untrained=True)
    timings = measure(predictor, image, runs=args.runs, warmup=args.warmup)
    report = {
        "model": predictor.model_name,
        "precision": predictor.precision,
        "image_size": list(image.shape[:2]),
        "instances": len(predictor(image)),
        "runs": args.runs,
        "images_per_second": 1000 / timings["predictor"]["mean_ms"],
        "timings": timings,
    }
    height, width = image.shape[:2]
    print(
        f"{predictor.model_name}, {predictor.device}, {predictor.precision}, "
        f"{torch.get_num_threads()} threads, image {height}x{width}, "
        f"{report['instances']} instances, {args.runs} runs"
    )
    print(f"{'':<12}{'mean ms':>9}{'p50 ms':>9}{'p99 ms':>9}")
    for name, timing in timings.items():
        print(f"{name:<12}" + "".join(f"{value:>9.2f}" for value in timing.values()))
    print(f"{report['images_per_second']:.1f} images/s")
    if args.json:
        inputs = [*model_files(args), *([args.image] if args.image else [])]
        write_json(args.json, report | {"provenance": provenance(inputs, predictor.device)})
    return 0


def measure(
    predictor: Predictor, image: NDArray[np.uint8], *, runs: int, warmup: int
) -> dict[str, dict[str, float]]:
    """Mean, p50 and p99 in milliseconds of the whole predictor and of each of its stages."""
    import torch

    def timed(stage: str, call: Callable[..., Any], *arguments: Any) -> Any:
        start = time.perf_counter()
        result = call(*arguments)
        if predictor.device.type == "cuda":
            torch.cuda.synchronize(predictor.device)
        samples[stage].append(time.perf_counter() - start)
        return result

    stages = ("predictor", "prepare", "forward", "postprocess")
    samples: dict[str, list[float]] = {stage: [] for stage in stages}
    for _ in range(warmup + runs):
        timed("predictor", predictor, image)
    for _ in range(warmup + runs):
        prepared = timed("prepare", predictor.prepare, image)
        outputs = timed("forward", predictor.forward, prepared)
        timed("postprocess", predictor.postprocess, outputs, prepared, image.shape[:2])
    return {stage: _summary(samples[stage][warmup:]) for stage in stages}


def _summary(seconds: list[float]) -> dict[str, float]:
    import numpy as np

    milliseconds = 1e3 * np.array(seconds)
    p50, p99 = np.percentile(milliseconds, (50, 99))
    return {"mean_ms": float(milliseconds.mean()), "p50_ms": float(p50), "p99_ms": float(p99)}


def _load_image(path: Path | None, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """The image file, scaled where a size is given, or smooth noise, the same on every machine."""
    import cv2
    import numpy as np

    if path is None:
        height, width = size or (720, 1280)
        coarse = np.random.default_rng(0).integers(0, 256, (9, 16, 3), np.uint8)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.asarray(smooth, np.uint8)
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"--image {path} is not a readable image.")
    if size is not None:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(image, np.uint8)
