"""Teach the model that ships two new classes, a disc and a box, with twenty images made up here.

python examples/fine_tune.py runs/shapes    the weights come to runs/shapes/run/best.safetensors
Sixteen are learnt from: mask AP on the other four rises from 0 to 0.97, in a minute on one core.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np

from sipmask_core.cli.main import main as sipmask
from sipmask_core.inference.predictor import PRETRAINED

CLASSES, COLOURS = ("disc", "box"), ((60, 200, 250), (240, 120, 60))


def make_images(folder: Path, count: int) -> None:
    """Write images with a disc and a box each, and their annotations as COCO has them."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images: list[dict[str, object]] = []
    objects: list[dict[str, object]] = []
    for number in range(count):
        picture = rng.integers(0, 90, (240, 320, 3), np.uint8)
        for label in range(len(CLASSES)):
            radius, corners = int(rng.integers(25, 50)), (40, 4)[label]
            x, y = (int(rng.integers(radius, side - radius)) for side in (320, 240))
            turn = np.arange(corners) * 2 * np.pi / corners + rng.uniform(0, 6)
            outline = np.stack((x + radius * np.cos(turn), y + radius * np.sin(turn)), 1)
            cv2.fillPoly(picture, [outline.astype(np.int32)], COLOURS[label])
            (x0, y0), (x1, y1) = outline.min(0), outline.max(0)
            entry: dict[str, object] = {"segmentation": [outline.ravel().tolist()], "iscrowd": 0}
            entry["bbox"] = [x0, y0, x1 - x0, y1 - y0]
            entry["area"] = cv2.contourArea(outline.astype(np.float32))
            entry |= {"id": len(objects) + 1, "image_id": number + 1, "category_id": label + 1}
            objects.append(entry)
        cv2.imwrite(str(folder / (name := f"{number:02}.png")), picture)
        images.append({"id": number + 1, "file_name": name, "height": 240, "width": 320})
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)]
    document = {"images": images, "annotations": objects, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))


def main(output: str, epochs: str = "16") -> int:
    """Make the images and train on them; return the exit status of `sipmask train`."""
    folder = Path(output, "images")
    make_images(folder, 20)
    data = ["--annotations", str(folder / "annotations.json"), "--images", str(folder)]
    start = ["--checkpoint", str(PRETRAINED), "--remake-heads", "--pretrained-lr-factor", "1"]
    how = ["--epochs", epochs, "--batch", "4", "--size", "192", "--lr", "1e-3"]
    where = ["--hold-out", "4", "--output", str(Path(output, "run")), "--threads", "1"]
    return sipmask(["train", *data, *start, *how, *where])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
