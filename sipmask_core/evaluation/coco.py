"""COCO's box and mask average precision of a predictor, or of existing results."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tqdm import tqdm

from sipmask_core.data.coco import CocoAnnotations, read_annotated_image, require_images
from sipmask_core.data.rle import checked_rle
from sipmask_core.distributed import rank, world_size
from sipmask_core.errors import InputError
from sipmask_core.results import Result, coco_results

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sipmask_core.predictor import Predictor
    from sipmask_core.presets import Preset

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100")
KINDS = ("segm", "bbox")
SCORE_THRESHOLD = 0.05  # AP wants the uncertain detections too


def evaluation_threshold(preset: Preset) -> float:
    """The score below which evaluation drops detections; the authors' presets keep their own."""
    return preset.score_threshold if preset.authors else SCORE_THRESHOLD


def detect(
    predictor: Predictor, annotations: CocoAnnotations, image_dir: Path, progress: bool = True
) -> Iterator[list[Result]]:
    """Run the predictor over the images of a COCO file; yields the results of one after the other.

    Results are those of `coco_results`. Classes correspond by name; those that the file lacks are
    left out. Raises InputError when none is in common or an image is missing, damaged or not of the
    annotated size.
    """
    by_name = dict(zip(annotations.class_names, annotations.category_ids, strict=True))
    category_ids = [by_name.get(name) for name in predictor.class_names]
    if all(category_id is None for category_id in category_ids):
        raise InputError(
            f"{annotations.path} has none of the model's classes: it has"
            f" {', '.join(annotations.class_names[:5])}, the model knows"
            f" {', '.join(predictor.class_names[:5])}."
        )
    require_images(annotations, image_dir)
    for record in tqdm(annotations.images, unit="image", disable=not progress, leave=False):
        instances = predictor(read_annotated_image(image_dir, record))
        yield coco_results(instances, record.id, category_ids)


def own_share(annotations: CocoAnnotations) -> CocoAnnotations:
    """The images that this process is to look at: every n-th, with n processes."""
    return dataclasses.replace(annotations, images=annotations.images[rank() :: world_size()])


def score(annotations: CocoAnnotations, results: list[Result]) -> dict[str, dict[str, float]]:
    """COCO's metrics by pycocotools: {"segm": {"AP": ...}, "bbox": {...}}, names as in METRICS.

    Figures are in [0, 1], or -1 where there is nothing to find, as pycocotools has it. Boxes are
    ranked by box_score where a result has one. A kind that no result has a shape for is left out.
    """
    scores = {}
    for kind, shape in zip(KINDS, ("segmentation", "bbox"), strict=True):
        if results and not all(shape in result for result in results):
            continue
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
            evaluation = COCOeval(
                _ground_truth(annotations), _detections(annotations, results, kind), kind
            )
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        scores[kind] = {m: float(v) for m, v in zip(METRICS, evaluation.stats, strict=False)}
    return scores


def format_scores(scores: dict[str, dict[str, float]]) -> str:
    """A table of metrics, one row per kind."""
    header = f"{'':<6}" + "".join(f"{name:>8}" for name in METRICS)
    rows = (
        f"{kind:<6}" + "".join(f"{values[name]:>8.3f}" for name in METRICS)
        for kind, values in scores.items()
    )
    return "\n".join([header, *rows])


def _ground_truth(annotations: CocoAnnotations) -> COCO:
    return _indexed(
        annotations,
        [
            {
                "id": o.id,
                "image_id": image.id,
                "category_id": annotations.category_ids[o.label],
                "bbox": list(o.bbox),
                "area": o.area,
                "iscrowd": int(o.is_crowd),
                "segmentation": o.segmentation,
            }
            for image in annotations.images
            for o in image.objects
        ],
    )


def _detections(annotations: CocoAnnotations, results: list[Result], kind: str) -> COCO:
    """Results with an id from 1 on (0 would read as "unmatched") and the area of their shape."""
    entries = []
    for number, result in enumerate(results, start=1):
        entry = {**result, "id": number, "iscrowd": 0}
        if kind == "segm":
            entry["area"] = float(coco_mask.area(result["segmentation"]))
        else:
            entry["score"] = result.get("box_score", result["score"])
            entry["area"] = result["bbox"][2] * result["bbox"][3]
        entries.append(entry)
    return _indexed(annotations, entries)


def _indexed(annotations: CocoAnnotations, entries: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [
            {"id": image.id, "height": image.height, "width": image.width}
            for image in annotations.images
        ],
        "categories": [
            {"id": i, "name": name}
            for i, name in zip(annotations.category_ids, annotations.class_names, strict=True)
        ],
        "annotations": entries,
    }
    coco.createIndex()
    return coco


def read_results(path: Path, annotations: CocoAnnotations) -> list[Result]:
    """COCO results from a JSON file: a list, or an object whose "annotations" are the results.

    Raises InputError naming file, entry and field, also for an image or category that the
    annotations lack.
    """
    try:
        document = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"Cannot read results {path}: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"Results {path} are not valid JSON: {error}.") from error
    entries = document.get("annotations") if isinstance(document, dict) else document
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path} is neither a list of results nor has a list 'annotations'.")
    sizes = {image.id: (image.height, image.width) for image in annotations.images}
    categories = set(annotations.category_ids)
    return [
        _checked_result(entry, f"{path}: result {number}", sizes, categories)
        for number, entry in enumerate(entries)
    ]


def _checked_result(
    entry: dict[str, Any],
    where: str,
    sizes: dict[int, tuple[int, int]],
    categories: set[int],
) -> Result:
    for field, known in (("image_id", sizes), ("category_id", categories)):
        if type(entry.get(field)) is not int or entry[field] not in known:
            raise InputError(f"{where}.{field} is {entry.get(field)!r}, not in the annotations.")
    result = {"image_id": entry["image_id"], "category_id": entry["category_id"]}
    for field in ("score", "box_score"):
        value = entry.get(field)
        if isinstance(value, int | float) and math.isfinite(value):
            result[field] = float(value)
        elif value is not None or field == "score":
            raise InputError(f"{where}.{field} is {value!r}, expected a finite number.")
    if "bbox" in entry:
        box = entry["bbox"]
        if (
            not isinstance(box, list)
            or len(box) != 4
            or not all(type(v) in (int, float) and math.isfinite(v) for v in box)
        ):
            raise InputError(f"{where}.bbox is {box!r}, expected x, y, width, height.")
        result["bbox"] = [float(v) for v in box]
    if "segmentation" in entry:
        if not isinstance(entry["segmentation"], dict):
            raise InputError(f"{where}.segmentation is not an RLE with 'size' and 'counts'.")
        result["segmentation"] = checked_rle(
            entry["segmentation"], sizes[entry["image_id"]], f"{where}.segmentation"
        )
    if "bbox" not in result and "segmentation" not in result:
        raise InputError(f"{where} has neither 'bbox' nor 'segmentation'.")
    return result
