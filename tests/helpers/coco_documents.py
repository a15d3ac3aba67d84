"""COCO files written by hand, and read again."""

from __future__ import annotations

import json

from sipmask_core.data.coco import read_annotations

SQUARE = [10, 20, 30, 20, 30, 50, 10, 50]  # x 10 to 30, y 20 to 50


def document(**annotation):
    return {
        "images": [{"id": 1, "file_name": "a.png", "height": 60, "width": 80}],
        "categories": [{"id": 7, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {
                "id": 5,
                "image_id": 1,
                "category_id": 7,
                "bbox": [10, 20, 20, 30],
                "area": 600,
                "iscrowd": 0,
                "segmentation": [SQUARE],
                **annotation,
            }
        ],
    }


def read(folder, content):
    path = folder / "instances.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_annotations(path)


def write_boxes(folder, name, classes, images, objects):
    """Write a COCO file and read it. images: {id: file name}; objects: (image id, class)."""
    ids = {c: i for i, c in enumerate(classes, 1)}
    path = folder / f"{name}.json"
    path.write_text(
        json.dumps(
            {
                "info": {"description": name},
                "categories": [{"id": i, "name": c} for c, i in ids.items()],
                "images": [
                    {"id": i, "file_name": f, "height": 50, "width": 50} for i, f in images.items()
                ],
                "annotations": [
                    {"id": n, "image_id": i, "category_id": ids[c], "bbox": [1, 1, 9, 9]}
                    for n, (i, c) in enumerate(objects, 1)
                ],
            }
        )
    )
    return read_annotations(path)
