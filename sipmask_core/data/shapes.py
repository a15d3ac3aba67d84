"""Objects' shapes: masks as polygons or run lengths, boxes and areas; how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from pycocotools import mask as coco_mask

from sipmask_core.data.fields import Field, is_finite_number
from sipmask_core.data.problems import Invalid, wrong_field
from sipmask_core.data.rle import checked_rle
from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from sipmask_core.data.box_agreement import Box, BoxAgreement
    from sipmask_core.data.fields import Entry, Size

Polygons = list[list[float]]

LEAST_CORNERS = 6  # numbers of a polygon: three points


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


def read_shape(
    mask: Field, bbox: Field, area: Field, size: Size, agreement: BoxAgreement
) -> Shape | None:
    """Read an annotation's shape in an image of that (H, W); None if box and mask are empty.

    mask: polygons or either form of RLE. An area that is missing or 0, and a box that is missing
    or, beside a mask, without extent come from the mask. If there is no mask, the shape has a box
    alone. agreement: takes in how a given box fits the mask. Raises Invalid.
    """
    segmentation = _segmentation(mask, size)
    box = None if bbox.value is None or bbox.value == [] else _box(bbox, size)
    pixels = area.value
    if pixels is not None and not is_finite_number(pixels):
        raise wrong_field(*area, "expected a finite number")
    if segmentation is None:
        if bbox.value is None:
            kind = f"{mask.name} and {bbox.name} are missing; one is needed"
            raise Invalid("no shape", f": {kind}")
        if box is None or box[2:] == (0, 0):
            return None
        agreement.add(box, None)
        return Shape(box, float(pixels) if pixels and pixels > 0 else bbox_area(box), None)
    if box is None or box[2:] == (0, 0):
        given, box = box, _rle_box(merged_rle(segmentation, size))
        if given is not None and box[2:] == (0, 0):
            return None
    else:
        agreement.add(box, _extent(segmentation))
    if pixels is None or pixels <= 0:
        pixels = coco_mask.area(merged_rle(segmentation, size))
    return Shape(box, float(pixels), segmentation)


def _segmentation(mask: Field, size: Size) -> Polygons | Entry | None:
    """Read a mask; None if there is none.

    One polygon or RLE may stand with or without a list around it, and points in lists of two;
    polygons of less than three points are left out beside others.
    """
    name, value = mask
    if value in (None, "", {}) or (isinstance(value, list) and not any(value)):
        return None
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        (value,) = value
    if isinstance(value, dict):
        try:
            return checked_rle(value, size, f".{name}")
        except InputError as error:
            raise Invalid(f"{name}: an RLE that does not fit", str(error).rstrip(".")) from None
    if not isinstance(value, list):
        raise wrong_field(name, value, "expected polygons or an RLE")
    if all(map(is_finite_number, value)) or all(map(_is_point, value)):
        value = [value]
    value = [_without_pairs(polygon) for polygon in value]
    whole = [p for p in value if not isinstance(p, list) or len(p) >= LEAST_CORNERS] or value
    polygons = [
        _numbers(
            Field(name, polygon),
            "polygons of three or more points, an even number (six or more) of",
            isinstance(polygon, list) and len(polygon) >= LEAST_CORNERS and len(polygon) % 2 == 0,
        )
        for polygon in whole
    ]
    for polygon in polygons:
        _check_corners(polygon, size, Field(name, polygon))
    return polygons


def _check_corners(corners: list[float], size: Size, field: Field) -> None:
    """Raise Invalid if corners (x0, y0, x1, y1, ...) are too far away from an image of (H, W)."""
    for places, length in ((corners[0::2], size[1]), (corners[1::2], size[0])):
        if min(places) < -length or max(places) > 2 * length:
            raise wrong_field(
                *field,
                f"expected corners no further beyond the image than it is wide ({size[1]}) and"
                f" high ({size[0]})",
                kind="corners far beyond the image",
            )


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_finite_number, value))


def _without_pairs(polygon: Any) -> Any:
    """Return a polygon whose points are lists [x, y] as one list; anything else as it is."""
    if isinstance(polygon, list) and len(polygon) > 1 and all(map(_is_point, polygon)):
        return list(chain.from_iterable(polygon))
    return polygon


def _extent(segmentation: Polygons | Entry) -> Box:
    """Return the box, x, y, width, height, around a mask."""
    if isinstance(segmentation, dict):
        return _rle_box(segmentation)
    x0 = min(min(polygon[0::2]) for polygon in segmentation)
    y0 = min(min(polygon[1::2]) for polygon in segmentation)
    x1 = max(max(polygon[0::2]) for polygon in segmentation)
    y1 = max(max(polygon[1::2]) for polygon in segmentation)
    return x0, y0, x1 - x0, y1 - y0


def _rle_box(rle: Any) -> Box:
    x, y, w, h = coco_mask.toBbox(rle).tolist()
    return x, y, w, h


def _box(field: Field, size: Size) -> Box:
    is_four = isinstance(field.value, list) and len(field.value) == 4
    x, y, w, h = _numbers(field, "four", is_four)
    if w < 0 or h < 0:
        raise wrong_field(*field, "which has a negative size")
    _check_corners([x, y, x + w, y + h], size, field)
    return x, y, w, h


def _numbers(field: Field, count: str, ok: bool) -> list[float]:
    if not ok or not all(map(is_finite_number, field.value)):
        raise wrong_field(*field, f"expected {count} finite numbers")
    return [float(x) for x in field.value]


def bbox_area(bbox: tuple[float, float, float, float]) -> float:
    """Return the area in pixels of a box x, y, width, height."""
    return bbox[2] * bbox[3]


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
