"""COCO's box and mask average precision of results: equal to pycocotools, and faster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco_mask

from sipmask_core.data.shapes import region
from sipmask_core.errors import InputError
from sipmask_core.evaluation.average_precision import (
    MAX_RESULTS,
    METRICS,
    Comparison,
    Scores,
    curves,
    summarise,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sipmask_core.data.coco import CocoAnnotations, CocoImage, CocoObject
    from sipmask_core.data.coco_results import Result

    # Shapes of the results and of the objects as pycocotools takes them, and the results' areas.
    _Shapes = tuple[Any, Any, NDArray[np.float64]]

KINDS = ("segm", "bbox")
# all, small, medium, large; in pixels, both ends inclusive
AREA_RANGES = ((0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10))
CLASS_METRICS = ("AP", "AP50", "AP75", "AR100")  # in the table of classes


@dataclass(frozen=True)
class ImageComparison:
    """The results and objects of one class in one image, in the order of `figures`."""

    image: CocoImage
    label: int
    results: list[Result]
    objects: list[CocoObject]
    figures: Comparison


@dataclass(frozen=True)
class Evaluation:
    """COCO's figures of one kind of shape, and what they come from, by label."""

    scores: Scores
    comparisons: list[list[ImageComparison]]


def evaluate(annotations: CocoAnnotations, results: list[Result]) -> dict[str, Evaluation]:
    """Compute COCO's figures by kind, "segm" and "bbox".

    Results are those of `coco_results` or `read_results`, of annotated images only. Boxes are
    ranked by box_score if a result has one. A kind is left out if some result has no shape for it,
    and masks also if all objects are known by their boxes alone; if only some are, these need not
    be found as masks, and what lies in their boxes is no false alarm. Results of classes that are
    not known in their image do not count. Raise InputError if no kind remains.
    """
    evaluations = {}
    with_masks, boxes_alone = annotations.masks
    for kind, shape in zip(KINDS, ("segmentation", "bbox"), strict=True):
        if results and not all(shape in result for result in results):
            continue
        if kind == "segm" and boxes_alone and not with_masks:
            continue
        comparisons = compare(annotations, results, kind)
        evaluations[kind] = Evaluation(accumulate(annotations, comparisons), comparisons)
    if not evaluations:
        raise InputError("Some results have no 'segmentation', others no 'bbox': no kind has all.")
    return evaluations


def score(annotations: CocoAnnotations, results: list[Result]) -> dict[str, dict[str, float]]:
    """Compute COCO's figures of all classes: {"segm": {"AP": ...}, "bbox": {...}}, as in METRICS.

    Figures are in [0, 1], or -1 if there is nothing to find. Otherwise like `evaluate`.
    """
    evaluations = evaluate(annotations, results)
    return {kind: evaluation.scores.overall for kind, evaluation in evaluations.items()}


def format_scores(scores: dict[str, dict[str, float]]) -> str:
    """Format a table of figures, one row per kind."""
    header = f"{'':<6}" + "".join(f"{name:>8}" for name in METRICS)
    rows = (
        f"{kind:<6}" + "".join(f"{values[name]:>8.3f}" for name in METRICS)
        for kind, values in scores.items()
    )
    return "\n".join([header, *rows])


def format_classes(by_class: dict[str, dict[str, dict[str, float]]]) -> str:
    """Format a table of CLASS_METRICS, one row per class and, side by side, the kinds.

    Classes without ground truth are left out, and their number is given.
    """
    first = next(iter(by_class.values()))
    names = [name for name, figures in first.items() if figures["AP"] > -1]
    width = max(len(name) for name in [*names, ""]) + 2
    gap = " " * 4
    lines = [
        " " * width + gap.join(f"{kind:>8}".ljust(8 * len(CLASS_METRICS)) for kind in by_class),
        " " * width + gap.join("".join(f"{m:>8}" for m in CLASS_METRICS) for _ in by_class),
    ]
    for name in names:
        cells = ("".join(f"{of[name][m]:>8.3f}" for m in CLASS_METRICS) for of in by_class.values())
        lines.append(f"{name:<{width}}" + gap.join(cells))
    if len(names) < len(first):
        lines.append(f"({len(first) - len(names)} classes without ground truth)")
    return "\n".join(line.rstrip() for line in lines)


def compare(
    annotations: CocoAnnotations, results: list[Result], kind: str
) -> list[list[ImageComparison]]:
    """Compare, by label, the results and objects of each image that has either of that class."""
    labels = {category_id: label for label, category_id in enumerate(annotations.category_ids)}
    found: dict[int, dict[int, list[Result]]] = {image.id: {} for image in annotations.images}
    images = {image.id: image for image in annotations.images}
    for result in results:
        label = labels[result["category_id"]]
        if images[result["image_id"]].knows(label):
            found[result["image_id"]].setdefault(label, []).append(result)
    comparisons: list[list[ImageComparison]] = [[] for _ in labels]
    for image in sorted(annotations.images, key=lambda image: image.id):
        true: dict[int, list[CocoObject]] = {}
        for o in image.objects:
            true.setdefault(o.label, []).append(o)
        in_image = found[image.id]
        for label in in_image.keys() | true.keys():
            pair = _meet(image, label, in_image.get(label, []), true.get(label, []), kind)
            comparisons[label].append(pair)
    return comparisons


def accumulate(annotations: CocoAnnotations, comparisons: list[list[ImageComparison]]) -> Scores:
    """Compute the figures of what `compare` returns."""
    return summarise(
        {
            name: curves([pair.figures for pair in pairs], AREA_RANGES)
            for name, pairs in zip(annotations.class_names, comparisons, strict=True)
        }
    )


def _meet(
    image: CocoImage, label: int, results: list[Result], objects: list[CocoObject], kind: str
) -> ImageComparison:
    def score(result: Result) -> float:
        confidence: float = result["score"]
        return confidence if kind == "segm" else result.get("box_score", confidence)

    results = sorted(results, key=lambda result: -score(result))[:MAX_RESULTS]
    shapes, truth, areas = (_masks if kind == "segm" else _boxes)(image, results, objects)
    crowd = np.array([o.is_crowd or (kind == "segm" and not o.has_mask) for o in objects], bool)
    ious = np.zeros((len(results), len(objects)))
    if ious.size:
        ious = coco_mask.iou(shapes, truth, crowd)
    figures = Comparison(
        scores=np.array([score(result) for result in results], float),
        areas=areas,
        truth_areas=np.array([o.area for o in objects], float),
        crowd=crowd,
        ious=ious,
    )
    return ImageComparison(image, label, results, objects, figures)


def _masks(image: CocoImage, results: list[Result], objects: list[CocoObject]) -> _Shapes:
    shapes = [result["segmentation"] for result in results]
    truth = [region(o, (image.height, image.width)) for o in objects]
    return shapes, truth, np.array(coco_mask.area(shapes), float)


def _boxes(_: CocoImage, results: list[Result], objects: list[CocoObject]) -> _Shapes:
    shapes = np.array([result["bbox"] for result in results], float).reshape(-1, 4)
    return shapes, np.array([o.bbox for o in objects], float), shapes[:, 2] * shapes[:, 3]
