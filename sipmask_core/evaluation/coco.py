"""COCO's box and mask average precision of results: equal to pycocotools, and faster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sipmask_core.errors import InputError
from sipmask_core.evaluation.average_precision import METRICS, Scores, curves, summarise
from sipmask_core.evaluation.overlaps import KINDS, compare

if TYPE_CHECKING:
    from sipmask_core.data.coco import CocoAnnotations
    from sipmask_core.data.coco_results import Result
    from sipmask_core.evaluation.overlaps import ClassComparison

# all, small, medium, large; in pixels, both ends inclusive
AREA_RANGES = ((0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10))
CLASS_METRICS = ("AP", "AP50", "AP75", "AR100")  # in the table of classes


@dataclass(frozen=True)
class Evaluation:
    """COCO's figures of one kind of shape, and what they come from, by label."""

    scores: Scores
    comparisons: list[ClassComparison]


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


def accumulate(annotations: CocoAnnotations, comparisons: list[ClassComparison]) -> Scores:
    """Compute the figures of what `compare` returns."""
    return summarise(
        {
            name: curves([of_class.figures], AREA_RANGES)
            for name, of_class in zip(annotations.class_names, comparisons, strict=True)
        }
    )
