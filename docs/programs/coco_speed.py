"""How fast COCO's figures are computed here and by other evaluators, on synthetic data.

Objects and results are rectangles, or ellipses as masks, in as many images and classes as COCO's
validation set has. The evaluators run in turn in one process and thread, and seconds are those of
the processor, so that other programs disturb less; of several rounds the fastest counts. Figures
are compared for equality. faster-coco-eval (Apache-2.0) and hotcoco (MIT) take part if they are
installed; the project does not depend on them.

  python docs/programs/coco_speed.py --rounds 3
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib.util
import io
import json
import os
import tempfile
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sipmask_core.data.coco import read_annotations
from sipmask_core.evaluation import coco as own
from sipmask_core.evaluation import overlaps

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

HEIGHT, WIDTH = 480, 640
OBJECTS, ALARMS = 7, 30  # an image, on average
CLASSES_PER_IMAGE = 3
ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
ROUND = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def main() -> None:
    """Make the data, time all, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    document, results = synthetic(args.images, args.classes)
    print(
        f"{args.images} images, {args.classes} classes, {len(document['annotations'])} objects,"
        f" {len(results)} results; fastest of {args.rounds} rounds"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "instances.json"
        path.write_text(json.dumps(document))
        annotations = read_annotations(path)
    os.environ["RAYON_NUM_THREADS"] = "1"  # hotcoco would use all cores
    evaluators: dict[str, Callable[[str], tuple[list[float], dict[str, float]]]] = {
        "pycocotools": lambda kind: by_pycocotools(document, results, kind),
        "faster_coco_eval": lambda kind: by_faster_coco_eval(document, results, kind),
        "hotcoco": lambda kind: by_hotcoco(document, results, kind),
        "here": lambda kind: by_us(annotations, results, kind),
    }
    for name in ("faster_coco_eval", "hotcoco"):
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed.")
            del evaluators[name]
    for kind in overlaps.KINDS:
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in evaluators}
        figures = {}
        for _ in range(args.rounds):
            for name, evaluate in evaluators.items():
                figures[name], seconds = evaluate(kind)
                runs[name].append(seconds)
        for name, values in figures.items():
            if values != figures["pycocotools"]:
                print(f"{kind}  the figures of {name} differ from those of pycocotools")
        for name, of_all in runs.items():
            best = min(of_all, key=lambda seconds: seconds["total"])
            parts = "  ".join(f"{part} {seconds:.2f} s" for part, seconds in best.items())
            print(f"{kind}  {name:<17} {parts}")


def synthetic(images: int, classes: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a COCO document and results for it: most objects are found, roughly, and much else."""
    rng = np.random.default_rng(0)
    truth: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id in range(1, images + 1):
        in_image = rng.choice(classes, CLASSES_PER_IMAGE, replace=False) + 1
        for _ in range(rng.poisson(OBJECTS)):
            box = random_box(rng)
            entry = shape(image_id, int(rng.choice(in_image)), box)
            crowd = int(rng.random() < 0.01)
            truth.append({**entry, "id": len(truth) + 1, "iscrowd": crowd, "area": area(entry)})
            for _ in range(rng.poisson(1.5)):
                moved = box + rng.normal(0, 0.06, 4) * [box[2], box[3], box[2], box[3]]
                found = shape(image_id, entry["category_id"], moved)
                results.append({**found, "score": float(rng.beta(4, 2))})
        for _ in range(rng.poisson(ALARMS)):
            label = int(rng.choice(in_image) if rng.random() < 0.5 else rng.integers(classes) + 1)
            alarm = shape(image_id, label, random_box(rng))
            results.append({**alarm, "score": float(rng.beta(1.5, 6))})
    document = {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH}
            for i in range(1, images + 1)
        ],
        "categories": [{"id": i, "name": f"class {i}"} for i in range(1, classes + 1)],
        "annotations": truth,
    }
    return document, results


def random_box(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return x, y, width, height; small ones are frequent, as in COCO."""
    w, h = np.exp(rng.uniform(np.log(8), np.log(300), 2))
    return np.array([rng.uniform(0, WIDTH - w), rng.uniform(0, HEIGHT - h), w, h])


def shape(image_id: int, category_id: int, box: NDArray[np.float64]) -> dict[str, Any]:
    """Return an annotation with a box and the ellipse in it."""
    x, y, w, h = (float(value) for value in box)
    w, h = max(w, 2.0), max(h, 2.0)
    ellipse = np.array([x + w / 2, y + h / 2]) + ROUND * [w / 2, h / 2]
    (rle,) = coco_mask.frPyObjects([ellipse.ravel().tolist()], HEIGHT, WIDTH)
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x, y, w, h],
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()},
    }


def area(entry: dict[str, Any]) -> float:
    """Return the number of pixels of the mask."""
    return float(coco_mask.area(entry["segmentation"]))


def by_pycocotools(
    document: dict[str, Any], results: list[dict[str, Any]], kind: str
) -> tuple[list[float], dict[str, float]]:
    """Return the twelve figures, and seconds by part; reading is not counted."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth, detections = COCO(), COCO()
        truth.dataset = document
        boxes = kind == "bbox"
        areas = [r["bbox"][2] * r["bbox"][3] if boxes else area(r) for r in results]
        entries = [
            {**r, "id": i, "iscrowd": 0, "area": a}
            for i, (r, a) in enumerate(zip(results, areas, strict=True), start=1)
        ]
        detections.dataset = {**document, "annotations": entries}
        for coco in (truth, detections):
            coco.createIndex()
        evaluation = COCOeval(truth, detections, kind)
        spent = [0.0]
        evaluation._prepare = timed(evaluation._prepare, spent)
        evaluation.computeIoU = timed(evaluation.computeIoU, spent)
        began = process_time()
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    total = process_time() - began
    return evaluation.stats.tolist(), parts(spent[0], total)


def by_faster_coco_eval(
    document: dict[str, Any], results: list[dict[str, Any]], kind: str
) -> tuple[list[float], dict[str, float]]:
    """Return the twelve figures, and the seconds; reading is not counted."""
    theirs = importlib.import_module("faster_coco_eval")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = theirs.COCO(copy.deepcopy(document))  # it changes what it is given
        found = truth.loadRes(of_kind(results, kind))
        evaluation = theirs.COCOeval_faster(truth, found, kind, print_function=str)
        seconds = run(evaluation)
    return list(evaluation.stats[:12]), seconds


def by_hotcoco(
    document: dict[str, Any], results: list[dict[str, Any]], kind: str
) -> tuple[list[float], dict[str, float]]:
    """Return the twelve figures, and the seconds; reading is not counted."""
    theirs = importlib.import_module("hotcoco")
    truth = theirs.COCO(document)
    evaluation = theirs.COCOeval(truth, truth.load_res(of_kind(results, kind)), kind)
    with contextlib.redirect_stdout(io.StringIO()):
        seconds = run(evaluation)
    return list(evaluation.stats), seconds


def of_kind(results: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Copy the results without their other shape: beside a box, sizes would go by the box."""
    other = "bbox" if kind == "segm" else "segmentation"
    return [{k: copy.copy(v) for k, v in result.items() if k != other} for result in results]


def run(evaluation: Any) -> dict[str, float]:
    """Run an evaluator with pycocotools' methods; return its seconds."""
    began = process_time()
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return {"total": process_time() - began}


def timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """Return the function so that it adds the seconds that it takes to spent[0]."""

    def call(*arguments: Any) -> Any:
        began = process_time()
        value = function(*arguments)
        spent[0] += process_time() - began
        return value

    return call


def parts(overlaps: float, total: float) -> dict[str, float]:
    """Return seconds by part."""
    return {
        "grouping and overlaps": overlaps,
        "matching and accumulation": total - overlaps,
        "total": total,
    }


def by_us(
    annotations: Any, results: list[dict[str, Any]], kind: str
) -> tuple[list[float], dict[str, float]]:
    """Return the same as by `sipmask_core.evaluation.coco`."""
    began = process_time()
    comparisons = overlaps.compare(annotations, results, kind)
    compared = process_time()
    scores = own.accumulate(annotations, comparisons)
    total = process_time() - began
    return list(scores.overall.values()), parts(compared - began, total)


if __name__ == "__main__":
    main()
