"""Pseudo labels: what another model finds, as annotations for training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from sipmask_core.data import classes, result_ids
from sipmask_core.data.coco import CocoAnnotations, read_annotations
from sipmask_core.data.fields import as_whole_number, is_finite_number
from sipmask_core.data.json_files import read_json
from sipmask_core.data.result_ids import id_of, image_key
from sipmask_core.data.shapes import bbox_area
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Box = tuple[float, float, float, float]
_Entry = tuple[str, int | None, Any, Any, Any]  # where it is, image id, category id, box, score
# Part of the smaller box; two boxes of one class that overlap this much count as one object.
MOST_OVERLAP = 0.3


class Found(NamedTuple):
    """A box (x, y, width, height in pixels) that the other model found."""

    class_name: str
    bbox: Box
    score: float


class Teacher(NamedTuple):
    """What another model found, by image id, and the classes that it looked for."""

    found: dict[int | None, list[Found]]
    class_names: tuple[str, ...]


def read_teacher(path: Path, annotations: CocoAnnotations) -> Teacher:
    """Read what another model found in the images of `annotations`.

    path: COCO results as `coco_results.read_results` takes them, whose masks are not looked at; or
    one object with "categories" and "boxes", in which the boxes are by file name without suffix and
    each is [category_id, x, y, width, height, score]. Results that do not name their categories
    have the category ids of the annotations or, if these are COCO's own, any of COCO's; the model
    is then taken to have looked for the classes that occur. Results of other images are left out.

    Raises InputError naming file, entry and field.
    """
    content, _ = read_json(path, "results")
    if isinstance(content, dict) and isinstance(content.get("boxes"), dict):
        names = _category_names(path, content.get("categories"))
        entries = _boxes_by_stem(path, content["boxes"], annotations)
        looked_for = set(names.values())
    elif (results := result_ids.result_entries(content)) is not None:
        images = result_ids.image_ids(path, content, results, annotations)
        entries = _results(path, results, images)
        names = result_ids.names_by_id(content, "categories", "name")
        looked_for = set(names.values())
        if not names:
            names = classes.names_by_id(annotations.class_names, annotations.category_ids)
            used = {id_of(entry.get("category_id")) for entry in results}
            looked_for = {name for number, name in names.items() if number in used}
    else:
        raise InputError(f"{path} has neither COCO results nor 'boxes' by image.")
    found: dict[int | None, list[Found]] = {image.id: [] for image in annotations.images}
    for where, image_id, category, bbox, score in entries:
        name = names.get(id_of(category))
        if name is None:
            raise InputError(f"{where} has category {category!r}, which is not among the classes.")
        numbers = [*bbox, score] if isinstance(bbox, list) else []
        if len(numbers) != 5 or not all(map(is_finite_number, numbers)) or min(bbox[2:]) < 0:
            raise InputError(
                f"{where} has the box {bbox!r} and the score {score!r}; expected are four numbers,"
                " x, y, width and height, and one."
            )
        of_image = found.get(image_id)
        if of_image is not None:
            x, y, width, height = map(float, bbox)
            of_image.append(Found(name, (x, y, width, height), float(score)))
    return Teacher(found, tuple(sorted(looked_for)))


def _boxes_by_stem(
    path: Path, boxes: dict[str, Any], annotations: CocoAnnotations
) -> Iterator[_Entry]:
    ids = {PurePosixPath(image.file_name).stem: image.id for image in annotations.images}
    for stem, of_image in boxes.items():
        for number, box in enumerate(of_image if isinstance(of_image, list) else [of_image]):
            where = f"{path}: boxes[{stem!r}][{number}]"
            if not isinstance(box, list) or len(box) != 6:
                raise InputError(f"{where} is {box!r}, expected a category, a box and a score.")
            yield where, ids.get(stem), box[0], box[1:5], box[5]


def _results(
    path: Path, entries: list[dict[str, Any]], images: Mapping[Any, int]
) -> Iterator[_Entry]:
    for number, e in enumerate(entries):
        image_id = images.get(image_key(e))
        where = f"{path}: result {number}"
        yield where, image_id, e.get("category_id"), e.get("bbox"), e.get("score")


def _category_names(path: Path, categories: Any) -> dict[Any, str]:
    entries: list[Any] = categories if isinstance(categories, list) else [None]
    if not all(
        isinstance(e, dict) and type(e.get("id")) is int and isinstance(e.get("name"), str)
        for e in entries
    ):
        raise InputError(f"{path}: 'categories' is no list of objects with an id and a name.")
    return {entry["id"]: entry["name"] for entry in entries}


def add_pseudo_labels(
    path: Path, found_path: Path, use_from: float, unsure_from: float
) -> tuple[dict[str, Any], Counter[str]]:
    """Add to the COCO document of `path` what another model found; also count each kind of box.

    A box that overlaps an annotated object of its class by MOST_OVERLAP is left out. Of the others,
    those with a score of `use_from` or more become objects that are known by their box alone; those
    with `unsure_from` or more, crowds without a mask, which training takes for uncertain; lower
    ones are left out. Each carries its `score`. Classes that the file lacks are added: it then
    counts as annotated for them, too.

    Raises InputError as `read_annotations` and `read_teacher` do, and for thresholds out of order.
    """
    if not 0 <= unsure_from <= use_from <= 1:
        raise InputError(
            f"Boxes are used from a score of {use_from} and uncertain from {unsure_from};"
            " the second must not be higher, and both are from 0 to 1."
        )
    annotations = read_annotations(path)
    teacher = read_teacher(found_path, annotations)
    document: dict[str, Any] = read_json(path, "annotations")[0]
    categories = document["categories"]
    ids = dict(zip(annotations.class_names, annotations.category_ids, strict=True))
    numbers = [as_whole_number(category["id"]) for category in categories]
    if None in numbers:
        raise InputError(
            f"{path}: ids of categories are texts; to add to them, numbers are needed."
        )
    next_category = max(number or 0 for number in numbers) + 1
    for name in teacher.class_names:
        if name in ids:
            continue
        ids[name] = next_category
        next_category += 1
        categories.append({"id": ids[name], "name": name})
    entries: list[dict[str, Any]] = list(document.get("annotations") or [])
    next_id = max((as_whole_number(entry.get("id")) or 0 for entry in entries), default=0) + 1
    texts = {number: text for text, number in annotations.text_ids.items()}
    counts: Counter[str] = Counter(used=0, unsure=0, overlapping=0, low=0)
    for image in annotations.images:
        true: dict[str, list[Box]] = {}
        for o in image.objects:
            true.setdefault(annotations.class_names[o.label], []).append(o.bbox)
        for box in teacher.found[image.id]:
            kind = _kind(box, true.get(box.class_name, []), use_from, unsure_from)
            counts[kind] += 1
            if kind in ("used", "unsure"):
                entries.append(
                    {
                        "id": next_id,
                        "image_id": texts.get(image.id, image.id),
                        "category_id": ids[box.class_name],
                        "bbox": list(box.bbox),
                        "area": round(bbox_area(box.bbox), 2),
                        "iscrowd": int(kind == "unsure"),
                        "score": box.score,
                    }
                )
                next_id += 1
    return {**document, "categories": categories, "annotations": entries}, counts


def _kind(box: Found, true: Sequence[Box], use_from: float, unsure_from: float) -> str:
    if box.score < unsure_from:
        return "low"
    if any(_overlap(box.bbox, other) >= MOST_OVERLAP for other in true):
        return "overlapping"
    return "used" if box.score >= use_from else "unsure"


def _overlap(a: Box, b: Box) -> float:
    """Return the part of the smaller box that lies in the other, 0 to 1."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    smaller = min(bbox_area(a), bbox_area(b))
    return max(width, 0.0) * max(height, 0.0) / smaller if smaller > 0 else 0.0
