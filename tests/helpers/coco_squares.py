"""A small COCO data set for tests: photographs of coloured squares, and a model small enough."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np

import sipmask_core as sm
from sipmask_core.model.presets import Letterbox, Preset
from sipmask_core.model.sipmask import SipMask
from sipmask_core.training.recipe import Recipe


def write_squares(folder: Path, count: int = 6, size: int = 80) -> tuple[Path, Path]:
    """Write `count` images, each but the last with one square. Return (annotations, images)."""
    rng = np.random.default_rng(7)
    images = folder / "images"
    images.mkdir(parents=True)
    document = {
        "info": {"description": "squares"},
        "categories": [{"id": 3, "name": "square"}],
        "images": [],
        "annotations": [],
    }
    for i in range(count):
        image = rng.integers(0, 80, (size, size, 3), np.uint8)
        name = f"{i:03}.png"
        document["images"].append({"id": i + 1, "file_name": name, "height": size, "width": size})
        if i < count - 1:
            side = int(rng.integers(size // 4, size // 2))
            x, y = (int(v) for v in rng.integers(0, size - side, 2))
            image[y : y + side, x : x + side] = (40, 220, 240)
            corners = [x, y, x + side, y, x + side, y + side, x, y + side]
            document["annotations"].append(
                {
                    "id": i + 1,
                    "image_id": i + 1,
                    "category_id": 3,
                    "bbox": [x, y, side, side],
                    "area": side * side,
                    "iscrowd": 0,
                    "segmentation": [corners],
                }
            )
        cv2.imwrite(str(images / name), image)
    annotations = folder / "squares.json"
    annotations.write_text(json.dumps(document))
    return annotations, images


# The conventions of the authors' code, as fields of a preset.
AS_PUBLISHED = {
    field.name: field.default
    for field in dataclasses.fields(Preset)
    if field.name
    in (
        "inclusive_boxes",
        "floored_masks",
        "zero_distances",
        "needs_objects",
        "crowds_are_background",
        "inverted_boxes",
        "batch_references",
        "threshold_on_class_score",
        "evaluation_threshold",
    )
}


def tiny_preset() -> Preset:
    """Return the lite preset at 96 x 96, with few channels."""
    return dataclasses.replace(
        sm.get_preset("sipmask_r18_lite"),
        stage_widths=(16, 16, 16, 16),
        channels=64,
        basis_channels=32,
        num_bases=4,
        tower_convs=1,
        resize=Letterbox(96, 96),
    )


def tiny_model() -> SipMask:
    """Return a fresh model of `tiny_preset` that knows squares."""
    return sm.build_model(tiny_preset(), class_names=("square",))


def tiny_recipe() -> Recipe:
    """Return a recipe of three epochs of two steps on six images."""
    return Recipe(
        input_size=(96, 96), epochs=3, batch_size=3, lr=1e-3, warmup_steps=2, validate_every=1
    )
