"""A predictor for tests of commands: it sees one bright rectangle per image."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

import sipmask_core as sm
from sipmask_core.video import VideoWriter


class BrightSpotPredictor:
    """Finds the bounding rectangle of the white pixels; fails at its image number `fails_at`."""

    class_names = ("person",)
    model_name = "bright_spot"
    device = torch.device("cpu")
    precision = "fp32"
    score_threshold: float | None = 0.3
    fails_at: int | None = None
    images = 0

    def predict_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[sm.Instances]:
        return [self(image) for image in images]

    def __call__(self, image: NDArray[np.uint8]) -> sm.Instances:
        self.images += 1
        if self.images == self.fails_at:
            raise sm.PredictionError("There is too little memory.")
        ys, xs = np.nonzero(image.min(axis=2) > 200)
        if len(ys) == 0:
            return sm.Instances.empty(image.shape[:2])
        x0, x1, y0, y1 = xs.min(), xs.max() + 1, ys.min(), ys.max() + 1
        return sm.Instances(
            boxes=np.array([[x0, y0, x1, y1]], np.float32),
            scores=np.array([0.75], np.float32),
            labels=np.zeros(1, np.int64),
            mask_crops=[sm.MaskCrop(int(x0), int(y0), np.ones((y1 - y0, x1 - x0), bool))],
            image_size=image.shape[:2],
        )


def write_hiding_spot(path):
    """Write a clip of a spot that moves, hides in frames 6 to 8 and comes back; return its path."""
    with VideoWriter(path, 20) as writer:
        for index in range(14):
            hidden = 6 <= index <= 8
            image = np.zeros((80, 120, 3), np.uint8) if hidden else spot_image(x=10 + 4 * index)
            writer.write(image)
    return path


def spot_image(x: int = 10, y: int = 20, w: int = 30, h: int = 16) -> NDArray[np.uint8]:
    image = np.zeros((80, 120, 3), np.uint8)
    image[y : y + h, x : x + w] = 255
    return image
