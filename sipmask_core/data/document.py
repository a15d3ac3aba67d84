"""An annotation file in JSON whose fields are checked when they are read."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pycocotools import mask as coco_mask

from sipmask_core.data.rle import checked_rle
from sipmask_core.errors import InputError

Entry = dict[str, Any]
Polygons = list[list[float]]
Size = tuple[int, int]

# Most pixels of an image's side: JPEG's limit. pycocotools counts pixels in 32 bits, and needs
# memory for every pixel along a polygon's edges.
MOST_SIDE = 65_535


class HasShape(Protocol):
    """Anything that has a box and perhaps a mask, as `Shape` has them."""

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        """The box: x, y, width, height in pixels."""

    @property
    def segmentation(self) -> Polygons | Entry | None:
        """The mask: polygons, a compressed RLE, or None."""


@dataclass(frozen=True)
class Shape:
    """An object in one image.

    bbox: x, y, width, height in pixels; area: in pixels; segmentation: polygons
    (x0, y0, x1, y1, ...), a compressed RLE or, for an object known by its box alone, None.
    """

    bbox: tuple[float, float, float, float]
    area: float
    segmentation: Polygons | Entry | None


class Document:
    """What COCO's and YouTube-VIS's files have in common; messages begin with the file's path.

    path: from where it was read; sha256: of its bytes; description: what the file says about
    itself, licence included, "" if it says nothing.

    The constructor and the methods that read raise InputError that names file, entry id and field.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            content = self.path.read_bytes()
            self._content = json.loads(content)
        except OSError as error:
            raise InputError(f"Cannot read annotations {path}: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"Annotations {path} are not valid JSON: {error}.") from error
        self.sha256 = hashlib.sha256(content).hexdigest()
        info = self._content.get("info") if isinstance(self._content, dict) else None
        description = info.get("description") if isinstance(info, dict) else None
        self.description = description if isinstance(description, str) else ""

    def has(self, section: str) -> bool:
        """Return whether the document has this section and it is not null."""
        return isinstance(self._content, dict) and self._content.get(section) is not None

    def entries(self, section: str, may_be_empty: bool = False) -> list[Entry]:
        """Return the entries of one of the document's lists, each with an id of its own."""
        value = self._content.get(section) if isinstance(self._content, dict) else None
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise InputError(f"{self.path}: {section!r} is missing or not a list of objects.")
        if not value and not may_be_empty:
            raise InputError(f"{self.path}: {section!r} is empty.")
        seen = set()
        for entry in value:
            entry_id = self.integer(entry, "id", section)
            if entry_id in seen:
                raise InputError(f"{self.path}: {section}[id={entry_id}] is listed twice.")
            seen.add(entry_id)
        return value

    def categories(self) -> dict[int, str]:
        """Return names by category id, ids rising: label i is the i-th. No name comes twice."""
        names: dict[int, str] = {}
        for entry in sorted(self.entries("categories"), key=lambda entry: entry["id"]):
            name = self.text(entry, "name", "categories")
            if name in names.values():
                raise InputError(
                    f"{self.where(entry, 'categories', 'name')} is {name!r}, which another category"
                    " has, too; names must differ, because classes correspond by name."
                )
            names[entry["id"]] = name
        return names

    def where(self, entry: Entry, section: str, field: str) -> str:
        """Return how messages name a field."""
        return f"{self.path}: {section}[id={entry.get('id')!r}].{field}"

    def size(self, entry: Entry, section: str) -> Size:
        """Read the (H, W) of an image or video, 1 to MOST_SIDE each."""
        height, width = (self.integer(entry, side, section, 1) for side in ("height", "width"))
        if max(height, width) > MOST_SIDE:
            raise InputError(
                f"{self.where(entry, section, 'height')} and width are {height} and {width},"
                f" expected at most {MOST_SIDE}."
            )
        return height, width

    def integer(self, entry: Entry, field: str, section: str, minimum: int = 0) -> int:
        """Read an integer that is at least `minimum`."""
        value = entry.get(field)
        if type(value) is not int or value < minimum:
            raise InputError(
                f"{self.where(entry, section, field)} is {value!r},"
                f" expected an integer >= {minimum}."
            )
        return value

    def text(self, entry: Entry, field: str, section: str) -> str:
        """Read a text that is not empty."""
        value = entry.get(field)
        if not isinstance(value, str) or not value:
            raise InputError(f"{self.where(entry, section, field)} is {value!r}, expected a name.")
        return value

    def reference(self, entry: Entry, field: str, known: Any, section: str) -> int:
        """Read the id of an entry of `section`, which must be among `known`."""
        value = self.integer(entry, field, "annotations")
        if value not in known:
            raise InputError(
                f"{self.where(entry, 'annotations', field)} is {value}, which {section!r} lacks."
            )
        return value

    def is_crowd(self, entry: Entry) -> bool:
        """Read the field `iscrowd`; false if it is missing."""
        value = entry.get("iscrowd", 0)
        if value not in (0, 1):
            raise InputError(
                f"{self.where(entry, 'annotations', 'iscrowd')} is {value!r}, expected 0 or 1."
            )
        return bool(value)

    def shape(
        self, entry: Entry, values: dict[str, Any], size: Size, need_mask: bool = False
    ) -> Shape:
        """Read an annotation's shape in an image of that (H, W).

        values: segmentation (polygons or either form of RLE), box and area, in this order, by the
        names that messages give them. A box or an area of None comes from the segmentation. If the
        segmentation is None or has no polygon, the shape has a box alone; need_mask forbids that.
        """
        places = (self.where(entry, "annotations", field) for field in values)
        (segmentation, bbox, area), (at_segmentation, at_box, at_area) = values.values(), places
        if segmentation in (None, []):
            if need_mask:
                raise InputError(
                    f"{at_segmentation} is {segmentation!r}, expected polygons or an RLE."
                )
            if bbox is None:
                raise InputError(f"{at_segmentation} and {at_box} are missing; one is needed.")
            segmentation = None
            area = bbox_area(_box(bbox, at_box)) if area is None else area
        else:
            segmentation = _segmentation(segmentation, size, at_segmentation)
        if bbox is None:
            bbox = coco_mask.toBbox(merged_rle(segmentation, size)).tolist()
        if area is None:
            area = float(coco_mask.area(merged_rle(segmentation, size)))
        if not is_finite_number(area):
            raise InputError(f"{at_area} is {_brief(area)}, expected a finite number.")
        return Shape(_box(bbox, at_box), float(area), segmentation)


def _segmentation(value: Any, size: Size, where: str) -> Polygons | Entry:
    if isinstance(value, dict):
        return checked_rle(value, size, where)
    if not isinstance(value, list):
        raise InputError(f"{where} is {_brief(value)}, expected polygons or an RLE.")
    polygons = [
        _numbers(
            polygon,
            where,
            "polygons of three or more points, an even number (six or more) of",
            isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0,
        )
        for polygon in value
    ]
    for polygon in polygons:
        for corners, length in ((polygon[0::2], size[1]), (polygon[1::2], size[0])):
            if min(corners) < -length or max(corners) > 2 * length:
                raise InputError(
                    f"{where} is {_brief(polygon)}, expected corners no further beyond the image"
                    f" than it is wide ({size[1]}) and high ({size[0]})."
                )
    return polygons


def _box(value: Any, where: str) -> tuple[float, float, float, float]:
    x, y, w, h = _numbers(value, where, "four", isinstance(value, list) and len(value) == 4)
    if w < 0 or h < 0:
        raise InputError(f"{where} has a negative size: {value}.")
    return x, y, w, h


def bbox_area(bbox: tuple[float, float, float, float]) -> float:
    """Return the area in pixels of a box x, y, width, height."""
    return bbox[2] * bbox[3]


def _numbers(value: Any, where: str, count: str, ok: bool) -> list[float]:
    if not ok or not all(is_finite_number(x) for x in value):
        raise InputError(f"{where} is {_brief(value)}, expected {count} finite numbers.")
    return [float(x) for x in value]


def is_finite_number(value: Any) -> bool:
    """Return whether a value from JSON is a number that a float holds: not true, not NaN."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def merged_rle(segmentation: Polygons | Entry, size: Size) -> Any:
    """Return the compressed RLE, (H, W) = size, of one object; its polygons are united."""
    if isinstance(segmentation, dict):
        return segmentation
    return coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))


def region(shape: HasShape, size: Size) -> Any:
    """Return the compressed RLE, (H, W) = size, of an object's mask or, without one, of its box."""
    if shape.segmentation is not None:
        return merged_rle(shape.segmentation, size)
    x, y, w, h = shape.bbox
    return coco_mask.merge(coco_mask.frPyObjects([[x, y, x + w, y, x + w, y + h, x, y + h]], *size))
