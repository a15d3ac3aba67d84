"""What the messages in this folder say: all sides of the format in few small messages."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from sipmask_core.mask_crop import MaskCrop, encode

HEIGHT, WIDTH = 480, 640
HEADER = {"stamp": {"sec": 1_700_000_000, "nanosec": 999_999_999}, "frame_id": "camera_optical"}
CLASS_NAMES = ["person", "café", ""]  # one of more bytes than letters, one of no letter


class Contents(NamedTuple):
    """A message: its type, its fields by name, and what its masks show, row by row."""

    type_name: str
    fields: dict[str, Any]
    masks: list[list[str]] | None = None


class Seen(NamedTuple):
    """An instance: its fields but the mask, where that begins, and the mask by rows."""

    fields: dict[str, Any]
    x: int
    y: int
    rows: list[str]


INSTANCES = [
    Seen(
        {
            "class_id": 0,
            "class_name": "person",
            "score": 0.9,
            "track_id": 2**40 + 1,  # beyond 32 bits
            "track_state": 2,
            "track_age": 2**32 - 1,
            "box": [638.5, 479.25, 640.0, 480.0],
        },
        x=WIDTH - 1,  # the last pixel of the image
        y=HEIGHT - 1,
        rows=["1"],
    ),
    Seen(
        {
            "class_id": 1,
            "class_name": "café",
            "score": 0.5,
            "track_id": 0,
            "track_state": 1,
            "track_age": 1,
            "box": [99.9, 50.1, 105.0, 53.0],
        },
        x=100,  # holes; an odd number of bytes; run lengths that rise and fall
        y=50,
        rows=["10110", "01101", "11011"],
    ),
    Seen(
        {
            "class_id": 2,
            "class_name": "",
            "score": 0.3,
            "track_id": -1,
            "track_state": 0,
            "track_age": 0,
            "box": [-0.25, 0.0, 2.0, 2.0],
        },
        x=0,  # the first pixel of the image: the run of background before it is of length 0
        y=0,
        rows=["11", "10"],
    ),
    Seen(
        {
            "class_id": 65535,
            "class_name": "of many",
            "score": 0.25,
            "track_id": 7,
            "track_state": 3,
            "track_age": 90,
            "box": [10.0, 20.0, 30.0, 40.0],
        },
        x=0,  # no pixel at all
        y=0,
        rows=[],
    ),
]

POSITIONS = [
    {
        "class_id": 1,
        "class_name": "café",
        "score": 0.5,
        "track_id": 2**40 + 1,
        "valid": True,
        "position": {"x": -0.125, "y": 0.001, "z": 2.7},
        "deviation": 0.015,
        "width": 0.4,
        "height": 1.75,
        "pixels": 1600,
        "coverage": 0.8,
        "velocity": {"x": 0.5, "y": -0.0625, "z": 1.1},
        "velocity_deviation": 0.03,
    },
    {
        "class_id": 0,
        "class_name": "person",
        "score": 0.25,
        "track_id": -1,
        "valid": False,
        "position": {"x": math.nan, "y": math.nan, "z": math.nan},
        "deviation": math.nan,
        "width": math.nan,
        "height": math.nan,
        "pixels": 0,
        "coverage": 0.0,
        "velocity": {"x": math.nan, "y": math.nan, "z": math.nan},
        "velocity_deviation": math.nan,
    },
]


def all_contents() -> dict[str, Contents]:
    """Return the messages by the names of their files."""
    positions = {
        "header": HEADER,
        "depth_delay": -0.01,
        "positions": POSITIONS,
        "velocity_frame": "odom",
    }
    no_depth = {"header": HEADER, "depth_delay": math.nan, "positions": []}
    label_info = {
        "header": HEADER,
        "model": "a model",
        "class_names": CLASS_NAMES,
        "reported_classes": CLASS_NAMES[:1],
        "score_threshold": 0.3,
    }
    return {
        "instance_array_mono8": _instance_array("mono8", INSTANCES),
        "instance_array_rle": _instance_array("rle", INSTANCES),
        "instance_array_empty": _instance_array("mono8", []),
        "instance_position_array": Contents("InstancePositionArray", positions),
        "instance_position_array_empty": Contents("InstancePositionArray", no_depth),
        "label_info": Contents("LabelInfo", label_info),
    }


def _instance_array(mask_encoding: str, seen: list[Seen]) -> Contents:
    instances = []
    for fields, x, y, rows in seen:
        height, width = len(rows), len(rows[0]) if rows else 0
        bitmap = np.array([[c == "1" for c in row] for row in rows], bool).reshape(height, width)
        if mask_encoding == "rle":
            (counts,) = encode([MaskCrop(x, y, bitmap)], (HEIGHT, WIDTH))
            mask = counts.encode("ascii")
        else:
            mask = (bitmap * np.uint8(255)).tobytes()
        roi = {"x_offset": x, "y_offset": y, "height": height, "width": width}
        instances.append({**fields, "roi": roi, "mask": [*mask]})
    fields = {
        "header": HEADER,
        "height": HEIGHT,
        "width": WIDTH,
        "model": "a model",
        "mask_encoding": mask_encoding,
        "instances": instances,
    }
    return Contents("InstanceArray", fields, [rows for _, _, _, rows in seen])
