"""COCO's results format: read, checked, and written in the form that the server takes."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pycocotools import mask as coco_mask

from sipmask_core.data.box_agreement import BoxAgreement
from sipmask_core.data.classes import category_ids
from sipmask_core.data.fields import is_finite_number
from sipmask_core.data.json_files import read_json
from sipmask_core.data.problems import brief
from sipmask_core.data.result_ids import category_ids as result_category_ids
from sipmask_core.data.result_ids import id_of, image_ids, image_key, result_entries
from sipmask_core.data.rle import checked_rles
from sipmask_core.errors import AvoidableError, InputError
from sipmask_core.instances import UNTRACKED
from sipmask_core.runtime.files import (
    PiecewiseWriter,
    atomic_path,
    pending_path,
    write_zip,
    writing,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from sipmask_core.data.coco import CocoAnnotations
    from sipmask_core.instances import Instances

SUBMITTED = ("image_id", "category_id", "segmentation", "score")

LOOKED_AT = 1000  # results whose boxes are compared with their masks

Result = dict[str, Any]


def read_results(path: Path, annotations: CocoAnnotations, *, subset: bool = False) -> list[Result]:
    """Read COCO results from a JSON file: a list, or an object whose "annotations" are the results.

    Image and category ids are those of the annotations. If the file names its images and categories
    as `ResultsFile` does, or by names in place of ids, and these disagree with the ids, names
    count: see `result_ids`.
    Results of classes that only the file's own list of categories knows are left out. The file may
    be compressed by gzip.

    subset: leave out results of images that the annotations lack. Raises InputError naming file,
    entry and field, without `subset` also for such results, and if no result remains.
    """
    content, _ = read_json(path, "results")
    entries = result_entries(content)
    if entries is None:
        raise InputError(f"{path} is neither a list of results nor has a list 'annotations'.")
    images = image_ids(path, content, entries, annotations)
    categories = result_category_ids(path, content, entries, annotations)
    strangers = [i for i, entry in enumerate(entries) if image_key(entry) not in images]
    if strangers:
        by_name = "image_id" not in (first := entries[strangers[0]]) and "file_name" in first
        refuse_strangers(path, entries, strangers, "file_name" if by_name else "image_id", subset)
    results = {
        number: result
        for number, entry in enumerate(entries)
        if (result := _checked_result(entry, f"{path}: result {number}", images, categories))
    }
    sizes = {image.id: (image.height, image.width) for image in annotations.images}
    masks = [number for number, result in results.items() if "segmentation" in result]
    rles = checked_rles(
        [
            (
                results[number]["segmentation"],
                sizes[results[number]["image_id"]],
                f"{path}: result {number}.segmentation",
            )
            for number in masks
        ]
    )
    for number, rle in zip(masks, rles, strict=True):
        results[number]["segmentation"] = rle
    return list(results.values())


def suspicion(results: Sequence[Result]) -> str:
    """Return a sentence if the results' boxes are corners, by the first masks; otherwise ""."""
    both = (result for result in results if "bbox" in result and "segmentation" in result)
    with_both = list(islice(both, LOOKED_AT))
    if not with_both:
        return ""
    agreement = BoxAgreement()
    extents = coco_mask.toBbox([result["segmentation"] for result in with_both]).tolist()
    for result, (x, y, w, h) in zip(with_both, extents, strict=True):
        agreement.add(tuple(result["bbox"]), (x, y, w, h))
    if not agreement.are_corners:
        return ""
    return (
        "The boxes of the results fit their masks as x0, y0, x1, y1; x, y, width, height are"
        " expected, and the box AP means nothing."
    )


def refuse_strangers(
    path: Path, entries: Sequence[Result], strangers: Sequence[int], field: str, subset: bool
) -> None:
    """Raise InputError about results of images or videos that the annotations lack.

    strangers: their places among the entries. Unless none else is left, `subset` allows them.
    """
    first = strangers[0]
    problem = (
        f"{path}: result {first}.{field} is {brief(entries[first].get(field))}, not in the"
        f" annotations, as are {len(strangers)} of {len(entries)} results."
    )
    if len(strangers) == len(entries):
        raise InputError(problem)
    if not subset:
        raise AvoidableError(problem, "subset", "scores those that are")


def write_submission(path: Path, results: list[Result]) -> Path:
    """Write results for the test-dev server: `path`, and beside it a zip with that file alone.

    Returns the path of the zip. The file in it has the name that the server asks for,
    detections_test-dev2017_<name>_results.json, where <name> is that of `path`; a name that begins
    with "detections_" is taken as it is. The same results give the same bytes.
    Raises InputError if a result has no mask or a file cannot be written.
    """
    entries = []
    for result in results:
        if "segmentation" not in result:
            raise InputError("A submission is about masks, and a result has no 'segmentation'.")
        entries.append({field: result[field] for field in SUBMITTED})
    content = json.dumps(entries)
    with atomic_path(path) as temporary:
        temporary.write_text(content, encoding="utf-8")
    name = path.stem
    if not name.startswith("detections_"):
        name = f"detections_test-dev2017_{name}_results"
    archive = path.with_suffix(".zip")
    write_zip(archive, f"{name}.json", content)
    return archive


def _checked_result(
    entry: dict[str, Any],
    where: str,
    images: dict[Any, int],
    categories: dict[Any, int | None],
) -> Result | None:
    """Check a result, except for the run lengths of its mask.

    Return None for one of an image or a class that the annotations lack.
    """
    image, category = image_key(entry), id_of(entry.get("category_id"))
    if image not in images:
        return None
    if category not in categories:
        raise InputError(
            f"{where}.category_id is {entry.get('category_id')!r}, not in the annotations."
        )
    if categories[category] is None:
        return None
    result: Result = {"image_id": images[image], "category_id": categories[category]}
    for field in ("score", "box_score"):
        value: Any = entry.get(field)
        if is_finite_number(value):
            result[field] = float(value)
        elif value is not None or field == "score":
            raise InputError(f"{where}.{field} is {value!r}, expected a finite number.")
    if "bbox" in entry:
        box = entry["bbox"]
        if not isinstance(box, list) or len(box) != 4 or not all(is_finite_number(v) for v in box):
            raise InputError(f"{where}.bbox is {box!r}, expected x, y, width, height.")
        result["bbox"] = [float(v) for v in box]
    if "segmentation" in entry:
        if not isinstance(entry["segmentation"], dict):
            raise InputError(f"{where}.segmentation is not an RLE with 'size' and 'counts'.")
        result["segmentation"] = entry["segmentation"]
    if "bbox" not in result and "segmentation" not in result:
        raise InputError(f"{where} has neither 'bbox' nor 'segmentation'.")
    return result


def coco_results(
    instances: Instances, image_id: int, category_ids: Sequence[int | None]
) -> list[Result]:
    """Turn the instances of one image to COCO results.

    Label i has category id i of `category_ids`; instances with None there are left out. A result
    has image_id, category_id, bbox (x, y, width, height), segmentation (compressed RLE) and score,
    by which masks are ranked. If the mask has a score of its own (SipMask++), box_score is that of
    the detection, by which boxes are ranked. A tracked instance has track_id.
    """
    results = []
    for index, rle in enumerate(instances.to_rle()):
        category_id = category_ids[instances.labels[index]]
        if category_id is None:
            continue
        x0, y0, x1, y1 = (float(edge) for edge in instances.boxes[index])
        score, mask_score = float(instances.scores[index]), float(instances.mask_scores[index])
        result: Result = {
            "image_id": image_id,
            "category_id": category_id,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "score": mask_score,
            "segmentation": rle,
        }
        if score != mask_score:
            result["box_score"] = score
        if instances.track_ids[index] != UNTRACKED:
            result["track_id"] = int(instances.track_ids[index])
        results.append(result)
    return results


class ResultsFile(PiecewiseWriter):
    """A COCO instances file with scores: annotations, images, categories and provenance.

    `pycocotools.coco.COCO(path)` opens it, and its "annotations" are what `loadRes` takes: the
    results of `coco_results` with an id and an area.
    Categories have COCO's ids if all classes are COCO's and are counted from 1 otherwise. An image
    whose file name is a number, as in COCO, has that number as its id if it is free.

    Annotations go straight to disk, so that memory grows only by one short record per image. Use it
    as a context manager and call `finish` last: the file appears under its name when the block ends
    well. Raises InputError if the file cannot be written.
    """

    def __init__(self, path: Path | str, class_names: Sequence[str]) -> None:
        self.path = Path(path)
        self.images: list[dict[str, Any]] = []
        self.annotation_count = 0
        self._class_names = class_names
        self._category_ids = category_ids(class_names)
        self._image_ids: set[int] = set()
        self._next_id = 1

    def _open(self, stack: ExitStack) -> None:
        temporary = stack.enter_context(pending_path(self.path))
        self._file = stack.enter_context(temporary.open("w", encoding="utf-8"))
        self._file.write('{"annotations": [')

    def add(self, file_name: str, instances: Instances, image_id: int | None = None) -> None:
        """Append the instances of one image; a given id must be new."""
        if image_id is None:
            image_id = self._new_image_id(file_name)
        self._image_ids.add(image_id)
        height, width = instances.image_size
        self.images.append(
            {"id": image_id, "file_name": file_name, "height": height, "width": width}
        )
        results = coco_results(instances, image_id, self._category_ids)
        for result, mask in zip(results, instances.mask_crops, strict=True):
            annotation = {
                "id": self.annotation_count + 1,
                **result,
                "area": int(mask.bitmap.sum()),
                "iscrowd": 0,
            }
            separator = ",\n" if self.annotation_count else "\n"
            with writing(self.path):
                self._file.write(separator + json.dumps(annotation))
            self.annotation_count += 1

    def finish(self, provenance: dict[str, Any]) -> None:
        """Write what follows the annotations; nothing may be added after it."""
        categories = [
            {"id": number, "name": name}
            for number, name in zip(self._category_ids, self._class_names, strict=True)
        ]
        tail = {"images": self.images, "categories": categories, "provenance": provenance}
        with writing(self.path):
            self._file.write("\n],\n" + json.dumps(tail, indent=1)[1:].lstrip() + "\n")

    def _new_image_id(self, file_name: str) -> int:
        stem = Path(file_name).stem
        image_id = int(stem) if stem.isascii() and stem.isdigit() else self._next_id
        while image_id in self._image_ids:
            image_id = self._next_id
            self._next_id += 1
        return image_id
