"""The results and true objects of each class of a COCO file side by side, and how they overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from sipmask_core.data.rle import areas
from sipmask_core.data.shapes import region
from sipmask_core.evaluation.average_precision import MAX_RESULTS, Comparison

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sipmask_core.data.coco import CocoAnnotations, CocoImage, CocoObject
    from sipmask_core.data.coco_results import Result

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Integers = NDArray[np.int64]

KINDS = ("segm", "bbox")


class ClassComparison(NamedTuple):
    """The N results and M true objects of one class in all images, in the order of `figures`."""

    label: int
    results: list[Result]
    objects: list[CocoObject]
    result_images: list[CocoImage]  # (N,)
    object_images: list[CocoImage]  # (M,)
    figures: Comparison


class _Results(NamedTuple):
    """N results of all classes: by image, there by class, there by falling score."""

    entries: list[Result]
    images: Integers  # (N,), numbers
    labels: Integers  # (N,)
    places: Integers  # (N,), rank among those of the same image and class
    scores: Floats  # (N,)


class _Objects(NamedTuple):
    """M objects of all classes: by image, there by class."""

    entries: list[CocoObject]
    images: Integers  # (M,), numbers
    labels: Integers  # (M,)
    crowd: Bools  # (M,)


def compare(
    annotations: CocoAnnotations, results: list[Result], kind: str
) -> list[ClassComparison]:
    """Compare, by label, the results and objects of all images, which stand by id.

    The results of an image and class stand by falling score, MAX_RESULTS at most. Those of classes
    that are not known in their image are left out. kind: one of KINDS.
    """
    images = sorted(annotations.images, key=lambda image: image.id)
    found = _results(annotations, images, results, kind)
    true = _objects(images, kind)
    shapes, truth, pixels = (_masks if kind == "segm" else _boxes)(found, true, images)
    results_of, objects_of, ious = _overlaps(found, true, shapes, truth)
    truth_pixels = np.array([o.area for o in true.entries], float)
    labels = len(annotations.category_ids)
    parts = (_by_label(of, labels) for of in (found.labels, true.labels, found.labels[results_of]))
    return [
        ClassComparison(
            label,
            [found.entries[i] for i in n.tolist()],
            [true.entries[i] for i in m.tolist()],
            [images[i] for i in found.images[n].tolist()],
            [images[i] for i in true.images[m].tolist()],
            Comparison(
                scores=found.scores[n],
                areas=pixels[n],
                places=found.places[n],
                truth_areas=truth_pixels[m],
                crowd=true.crowd[m],
                results=np.searchsorted(n, results_of[e]),
                objects=np.searchsorted(m, objects_of[e]),
                ious=ious[e],
            ),
        )
        for label, (n, m, e) in enumerate(zip(*parts, strict=True))
    ]


def _results(
    annotations: CocoAnnotations, images: list[CocoImage], results: list[Result], kind: str
) -> _Results:
    numbers = {image.id: number for number, image in enumerate(images)}
    labels = {category_id: label for label, category_id in enumerate(annotations.category_ids)}
    known = [r for r in results if images[numbers[r["image_id"]]].knows(labels[r["category_id"]])]
    image = np.array([numbers[r["image_id"]] for r in known], np.int64)
    label = np.array([labels[r["category_id"]] for r in known], np.int64)
    if kind == "segm":
        scores = np.array([r["score"] for r in known], float)
    else:
        scores = np.array([r.get("box_score", r["score"]) for r in known], float)

    order = np.lexsort((-scores, label, image))
    groups = (image * len(labels) + label)[order]
    begins = np.flatnonzero(np.diff(groups, prepend=-1))
    places = np.arange(len(order)) - begins.repeat(np.diff(begins, append=len(order)))
    order, places = order[places < MAX_RESULTS], places[places < MAX_RESULTS]
    return _Results(
        [known[i] for i in order.tolist()], image[order], label[order], places, scores[order]
    )


def _objects(images: list[CocoImage], kind: str) -> _Objects:
    objects = [o for image in images for o in image.objects]
    image = np.arange(len(images)).repeat([len(image.objects) for image in images])
    label = np.array([o.label for o in objects], np.int64)
    crowd = np.array([o.is_crowd or (kind == "segm" and not o.has_mask) for o in objects], bool)
    order = np.lexsort((label, image))
    return _Objects([objects[i] for i in order.tolist()], image[order], label[order], crowd[order])


def _masks(found: _Results, true: _Objects, images: list[CocoImage]) -> tuple[Any, Any, Floats]:
    """Return the run lengths of results and objects, and how many pixels each result has."""
    shapes = [result["segmentation"] for result in found.entries]
    sizes = ((images[i].height, images[i].width) for i in true.images.tolist())
    truth = [region(o, size) for o, size in zip(true.entries, sizes, strict=True)]
    return shapes, truth, areas(shapes)


def _boxes(found: _Results, true: _Objects, _: list[CocoImage]) -> tuple[Any, Any, Floats]:
    """Return the boxes of results and objects, and the results' areas."""
    shapes = np.array([result["bbox"] for result in found.entries], float).reshape(-1, 4)
    truth = np.array([o.bbox for o in true.entries], float).reshape(-1, 4)
    return shapes, truth, shapes[:, 2] * shapes[:, 3]


def _overlaps(
    found: _Results, true: _Objects, shapes: Any, truth: Any
) -> tuple[Integers, Integers, Floats]:
    """Return a result, an object of its image and class, and their IoU, if above 0; (E,) each."""
    classes = max(found.labels.max(initial=0), true.labels.max(initial=0)) + 1
    groups, true_groups = (of.images * classes + of.labels for of in (found, true))
    begins = np.flatnonzero(np.diff(true_groups, prepend=-1))
    ends = np.append(begins[1:], len(true_groups))[: len(begins)]
    first, last = (np.searchsorted(groups, true_groups[begins], side) for side in ("left", "right"))
    blocks = np.stack((first, last, begins, ends), axis=1)[first < last]  # with both in them
    cells = [
        coco_mask.iou(shapes[a:b], truth[c:d], true.crowd[c:d]).ravel()
        for a, b, c, d in blocks.tolist()
    ]
    ious = np.concatenate([np.zeros(0), *cells])
    first, last, begins, ends = blocks.T
    width = ends - begins
    sizes = (last - first) * width
    cell = np.arange(len(ious)) - (sizes.cumsum() - sizes).repeat(sizes)
    results = first.repeat(sizes) + cell // width.repeat(sizes)
    objects = begins.repeat(sizes) + cell % width.repeat(sizes)
    some = ious > 0
    return results[some], objects[some], ious[some]


def _by_label(labels: Integers, number: int) -> list[Integers]:
    """Return, for each of so many labels, where it stands."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.searchsorted(labels[order], np.arange(1, number)))
