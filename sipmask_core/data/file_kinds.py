"""JSON files about images that hold something other than instances, recognised by what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXPORT = "; export its annotations in COCO format"
# Of which tool's own format a file is that has all of these at its top.
_OBJECTS = (
    ({"item", "annotations"}, "V7 Darwin"),
    ({"items", "categories"}, "Datumaro"),
    ({"size", "objects"}, "Supervisely"),
    ({"classes", "projectType"}, "Supervisely"),
    ({"imgHeight", "objects"}, "Cityscapes"),
    ({"info", "objects"}, "ISAT"),
    ({"data_row"}, "Labelbox"),
)
# The same for a list of objects that have these.
_LISTS = (
    ({"data", "annotations"}, "Label Studio"),
    ({"data", "completions"}, "Label Studio"),
    ({"image", "annotations"}, "CreateML"),
    ({"name", "labels"}, "BDD100K"),
    ({"file_name", "annotations"}, "Detectron2"),
    ({"data_row"}, "Labelbox"),
)


def other_kind(content: Any) -> str | None:
    """Return what a JSON file is, in words, if it is known to hold no COCO or YouTube-VIS objects.

    None if it may hold them, or is of no kind known here.
    """
    if isinstance(content, list):
        return _kind_of_list(content[0] if content and isinstance(content[0], dict) else {})
    if not isinstance(content, dict):
        return None
    if "shapes" in content and "imagePath" in content:
        return (
            "a labelme file of one image; labelme's own labelme2coco.py converts a folder of them"
        )
    if any(key.startswith("_via") for key in content):
        return f"a project of VIA{_EXPORT}"
    if content.get("type") == "FeatureCollection":
        return "GeoJSON, not COCO annotations"
    if "images" not in content and (tool := _tool(content, _OBJECTS)):
        return tool
    if "images" in content or "annotations" in content:
        annotations = content.get("annotations")
        first = annotations[0] if isinstance(annotations, list) and annotations else None
        return _kind_of_annotation(first if isinstance(first, dict) else {})
    if any(isinstance(value, dict) and "regions" in value for value in content.values()):
        return f"VIA's own JSON{_EXPORT}"
    return None


def _kind_of_list(first: dict[str, Any]) -> str | None:
    if "score" in first and ("image_id" in first or "video_id" in first):
        return "a list of results, not annotations"
    if "image_id" in first and ("bbox" in first or "segmentation" in first):
        return "a list of annotations alone; COCO's files also have 'images' and 'categories'"
    return _tool(first, _LISTS)


def _tool(content: dict[str, Any], tools: Sequence[tuple[set[str], str]]) -> str | None:
    for keys, name in tools:
        if keys <= content.keys():
            return f"{name}'s own JSON{_EXPORT}"
    return None


def _kind_of_annotation(first: dict[str, Any]) -> str | None:
    if "segments_info" in first:
        return "a COCO file of panoptic segmentation; that of instances is needed"
    if "caption" in first and "bbox" not in first and "segmentation" not in first:
        return "a COCO file of captions; that of instances is needed"
    return None
