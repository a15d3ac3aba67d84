"""COCO's results format: read, checked, and written as the benchmark's server takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.data.document import is_finite_number
from sipmask_core.data.rle import checked_rles
from sipmask_core.errors import InputError
from sipmask_core.files import atomic_path, write_zip

if TYPE_CHECKING:
    from sipmask_core.data.coco import CocoAnnotations
    from sipmask_core.results import Result


SUBMITTED = ("image_id", "category_id", "segmentation", "score")


def read_results(path: Path, annotations: CocoAnnotations) -> list[Result]:
    """COCO results from a JSON file: a list, or an object whose "annotations" are the results.

    Raises InputError naming file, entry and field, also for an image or category that the
    annotations lack.
    """
    try:
        document = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"Cannot read results {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"Results {path} are not valid JSON: {error}.") from error
    entries = document.get("annotations") if isinstance(document, dict) else document
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path} is neither a list of results nor has a list 'annotations'.")
    sizes = {image.id: (image.height, image.width) for image in annotations.images}
    categories = set(annotations.category_ids)
    results = [
        _checked_result(entry, f"{path}: result {number}", sizes, categories)
        for number, entry in enumerate(entries)
    ]
    masks = [number for number, result in enumerate(results) if "segmentation" in result]
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
    return results


def write_submission(path: Path, results: list[Result]) -> Path:
    """Write results as the test-dev server takes them: `path`, and beside it a zip with that alone.

    Returns the path of the zip. The file in it has the name that the server asks for,
    detections_test-dev2017_<name>_results.json, where <name> is that of `path`; a name that begins
    with "detections_" is taken as it is. The same results give the same bytes.
    Raises InputError where a result has no mask or a file cannot be written.
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
    sizes: dict[int, tuple[int, int]],
    categories: set[int],
) -> Result:
    """All but what the mask's run lengths say."""
    for field, known in (("image_id", sizes), ("category_id", categories)):
        if type(entry.get(field)) is not int or entry[field] not in known:
            raise InputError(f"{where}.{field} is {entry.get(field)!r}, not in the annotations.")
    result = {"image_id": entry["image_id"], "category_id": entry["category_id"]}
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
