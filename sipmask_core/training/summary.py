"""What a training will learn, told before its first step, and refused if it is nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from sipmask_core.errors import InputError
from sipmask_core.training.dataset import learnable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sipmask_core.data.coco import CocoAnnotations, CocoImage, CocoObject

MOST_CLASSES = 20  # that have a line of their own


class _Counts(NamedTuple):
    """Objects to learn from, those of them without a mask, and images with any, by label."""

    objects: Counter[int]
    boxes_alone: Counter[int]
    images: Counter[int]
    empty_images: int
    left_out: Counter[str]  # by reason


def summary(training: CocoAnnotations, validation: CocoAnnotations) -> str:
    """Say how much is learnt of each class, from what, and what is left out and why, in lines.

    Raises InputError if there is no object to learn from.
    """
    learnt, held_out = _count(training.images), _count(validation.images)
    reasons = ", ".join(f"{reason} ({count})" for reason, count in learnt.left_out.most_common())
    if not learnt.objects:
        raise InputError(
            f"{training.path}: there is nothing to learn from: the images to train"
            f" on, {len(training.images)}, have {f'only {reasons}' if reasons else 'no object'}."
        )
    lines = [
        f"Images to learn from: {len(training.images)}, {learnt.empty_images} of them without"
        f" objects; to validate on: {len(validation.images)}.",
        *_table(training.class_names, learnt, held_out),
        *([f"Not learnt from: {reasons}."] if reasons else []),
        *_masks(learnt.objects.total(), learnt.boxes_alone.total()),
    ]
    if validation.images and not held_out.objects:
        lines.append("No image to validate on has an object: there will be no AP.")
    return "\n".join(lines)


def _table(names: tuple[str, ...], learnt: _Counts, held_out: _Counts) -> list[str]:
    """Return a line for each of the most frequent classes, and one about those without objects."""
    shown = [label for label, _ in learnt.objects.most_common(MOST_CLASSES)]
    width = max(len(names[label]) for label in shown) + 2
    heads = ("objects", "boxes alone", "images", "to validate")
    lines = ["".join((" " * width, *(f"{head:>13}" for head in heads)))]
    for label in shown:
        counts = (learnt.objects, learnt.boxes_alone, learnt.images, held_out.objects)
        cells = "".join(f"{of_class[label]:>13}" for of_class in counts)
        lines.append(f"{names[label]:<{width}}{cells}")
    if len(learnt.objects) > len(shown):
        lines.append(f"(and {len(learnt.objects) - len(shown)} classes with fewer objects)")
    without = [name for label, name in enumerate(names) if label not in learnt.objects]
    if without:
        more = ", ..." * (len(without) > MOST_CLASSES)
        lines.append(
            f"Without an object to learn from, {len(without)} of {len(names)} classes:"
            f" {', '.join(without[:MOST_CLASSES])}{more or '.'}"
        )
    return lines


def _masks(objects: int, boxes_alone: int) -> list[str]:
    if boxes_alone == objects:
        return [
            f"None of the {objects} objects has a mask: this trains a detector of boxes, whose"
            " masks mean nothing."
        ]
    if not boxes_alone:
        return []
    return [f"{objects - boxes_alone} objects have masks to learn from, {boxes_alone} a box alone."]


def _count(images: Iterable[CocoImage]) -> _Counts:
    objects, boxes_alone, with_any = Counter[int](), Counter[int](), Counter[int]()
    left_out = Counter[str]()
    empty = 0
    for image in images:
        certain = [o for o in learnable(image) if not o.is_crowd]
        objects.update(o.label for o in certain)
        boxes_alone.update(o.label for o in certain if not o.has_mask)
        with_any.update({o.label for o in certain})
        empty += not certain
        ids = {o.id for o in certain}
        left_out.update(_reason(o) for o in image.objects if o.id not in ids)
    return _Counts(objects, boxes_alone, with_any, empty, left_out)


def _reason(o: CocoObject) -> str:
    """Say in the plural what an object is that is no training target."""
    if o.is_crowd:
        return "crowds" if o.has_mask else "doubtful boxes"
    return "empty masks" if o.area <= 0 else "objects less than a pixel wide or high"
