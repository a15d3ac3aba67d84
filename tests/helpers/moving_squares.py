"""A small YouTube-VIS data set for tests: squares that move, come and go; and its predictor."""

import json
import signal
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import sipmask_core as sm

SIZE = 80


def write_videos(folder: Path, count: int = 3, frames: int = 4) -> tuple[Path, Path]:
    """Write `count` videos of two squares each. Return (annotations, images).

    Track 2v + 1 is to be seen in all frames of video v, track 2v + 2 in all but the last. The last
    video has only one frame with objects, its first. Boxes and areas are left out in frames of odd
    number, as files may do.
    """
    rng = np.random.default_rng(3)
    images = folder / "frames"
    document = {
        "info": {"description": "moving squares"},
        "categories": [{"id": 5, "name": "square"}, {"id": 2, "name": "bar"}],
        "videos": [],
        "annotations": [],
    }
    for v in range(count):
        names = [f"video{v}/{i:05}.png" for i in range(frames)]
        document["videos"].append(
            {"id": v + 1, "file_names": names, "height": SIZE, "width": SIZE, "length": frames}
        )
        tracks = [
            {"id": 2 * v + k, "video_id": v + 1, "category_id": (5, 2)[k - 1], "iscrowd": 0}
            | {"segmentations": [], "bboxes": [], "areas": []}
            for k in (1, 2)
        ]
        (images / f"video{v}").mkdir(parents=True)
        for i, name in enumerate(names):
            picture = rng.integers(0, 60, (SIZE, SIZE, 3), np.uint8)
            for k, track in enumerate(tracks):
                x, y, side = 5 + 6 * i, 10 + 34 * k, 26
                is_seen = (i == 0 or v < count - 1) and (k == 0 or i < frames - 1)
                shape = {"segmentations": None, "bboxes": None, "areas": None}
                if is_seen:
                    picture[y : y + side, x : x + side] = (50, 90 + 100 * k, 220)
                    corners = [x, y, x + side, y, x + side, y + side, x, y + side]
                    shape["segmentations"] = [corners]
                    if i % 2 == 0:
                        shape |= {"bboxes": [x, y, side, side], "areas": side * side}
                for field, value in shape.items():
                    track[field].append(value)
            cv2.imwrite(str(images / name), picture)
        document["annotations"] += tracks
    annotations = folder / "videos.json"
    annotations.write_text(json.dumps(document))
    return annotations, images


class SquareSpotter:
    """A predictor that finds the squares and bars of `write_videos` by their colour.

    interrupt_at: the image at which Ctrl-C comes.
    """

    class_names = ("unicorn", "bar", "square")
    model_name = "square_spotter"
    device = torch.device("cpu")
    precision = "fp32"
    tracking_mode = "online"  # which `Predictor.track` asks for
    score_threshold: float | None = 0.05
    colours = ((2, 90), (1, 190))  # label, green

    def __init__(self) -> None:
        self.images = 0
        self.interrupt_at: int | None = None

    def predict_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[sm.Instances]:
        return [self(image) for image in images]

    def __call__(self, image: NDArray[np.uint8]) -> sm.Instances:
        self.images += 1
        if self.images == self.interrupt_at:
            signal.raise_signal(signal.SIGINT)
        found = []
        for label, green in self.colours:
            ys, xs = np.nonzero((image[..., 2] > 200) & (image[..., 1] == green))
            if len(ys):
                found.append((label, xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
        return sm.Instances(
            boxes=np.array([box for _, *box in found], np.float32).reshape(-1, 4),
            scores=np.float32([0.9, 0.8][: len(found)]),
            labels=np.array([label for label, *_ in found], np.int64),
            mask_crops=[
                sm.MaskCrop(int(x0), int(y0), np.ones((y1 - y0, x1 - x0), bool))
                for _, x0, y0, x1, y1 in found
            ],
            image_size=image.shape[:2],
        )
