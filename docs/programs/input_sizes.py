"""Draw how good and how fast a model is at other sizes of its input than its own.

AP is that of the held-out images, speed that of the whole `Predictor` on a photograph of 640 x 480
that scikit-image carries; the sizes take turns, so that all meet the same machine.

  python docs/programs/input_sizes.py --annotations voc.json --images voc/ --hold-out 0.1
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np
from matplotlib.figure import Figure
from skimage import data

import sipmask_core as sm
from sipmask_core.data.coco import read_annotations
from sipmask_core.evaluation.coco import evaluate
from sipmask_core.evaluation.run_images import detect
from sipmask_core.inference.predictor import PRETRAINED
from sipmask_core.model.presets import with_longest_side
from sipmask_core.runtime.files import write_figure

if TYPE_CHECKING:
    from collections.abc import Mapping

Key = TypeVar("Key")

WARM_UP = 5
EVALUATED_FROM = 0.05  # score: AP wants uncertain detections, too


def predictor_at(checkpoint: Path, side: int, threads: int) -> sm.Predictor:
    """Return the predictor of a checkpoint, with inputs of this longest side."""
    model = sm.load_model(checkpoint)
    smaller = model.with_preset(with_longest_side(model.preset, side))
    return sm.Predictor(smaller, device="cpu", num_threads=threads)


def milliseconds(predictors: Mapping[Key, sm.Predictor], rounds: int) -> dict[Key, float]:
    """Return the median time of an image for each of the predictors, by turns."""
    bgr = np.ascontiguousarray(data.astronaut()[..., ::-1])
    photograph = np.asarray(cv2.resize(bgr, (640, 480)), np.uint8)
    seconds: dict[Key, list[float]] = {key: [] for key in predictors}
    for _ in range(WARM_UP + rounds):
        for key, predictor in predictors.items():
            began = time.perf_counter()
            predictor(photograph)
            seconds[key].append(time.perf_counter() - began)
    return {key: 1e3 * float(np.median(times[WARM_UP:])) for key, times in seconds.items()}


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--annotations", type=Path, required=True)
    add("--images", type=Path, required=True)
    add("--hold-out", type=float, default=0.1, help="share of the images to measure AP on (0.1)")
    add("--checkpoint", type=Path, default=PRETRAINED)
    add("--sizes", type=int, nargs="+", default=[256, 320, 352, 384, 416, 448])
    add("--rounds", type=int, default=35, help="of which the median time counts (35)")
    add("--threads", type=int, default=2)
    add("--output", type=Path, default=Path("docs/input_sizes.png"))
    args = parser.parse_args()
    own = max(vars(sm.load_model(args.checkpoint).preset.resize).values())
    held_out = read_annotations(args.annotations).split(args.hold_out)[1]
    predictors = {s: predictor_at(args.checkpoint, s, args.threads) for s in args.sizes}
    took = milliseconds(predictors, args.rounds)
    rows = []
    for side, predictor in predictors.items():
        predictor.score_threshold = EVALUATED_FROM
        results = [r for image in detect(predictor, held_out, args.images) for r in image.results]
        scores = evaluate(held_out, results)["segm"].scores.overall
        figures = {name: round(scores[name], 4) for name in ("AP", "AP50", "APs", "APm", "APl")}
        rows.append({"side": side, "ms": round(took[side], 1), **figures})
        print(json.dumps(rows[-1]), flush=True)
    draw(rows, own, args.output)


def draw(rows: list[dict[str, float]], own: int, path: Path) -> None:
    """Draw AP against images per second, and mark the size that the model has by itself."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    rate = [1e3 / row["ms"] for row in rows]
    for name, label in (("AP", "all"), ("APm", "medium"), ("APs", "small")):
        axes.plot(rate, [row[name] for row in rows], "o-", label=label)
    for x, row in zip(rate, rows, strict=True):
        weight = "bold" if row["side"] == own else "normal"
        axes.annotate(f"{row['side']:g}", (x, row["AP"] + 0.008), ha="center", fontweight=weight)
    axes.set(
        xlabel="images per second",
        ylabel="mask AP",
        ylim=(0, 1.15 * max(row["AP"] for row in rows)),
    )
    axes.grid(alpha=0.3)
    axes.legend(title="objects")
    write_figure(path, figure)


if __name__ == "__main__":
    main()
