"""The smallest model behind the border: whatever is brighter than 200 is a lamp.

PYTHONPATH=examples sipmask predict photo.jpg --output seen/ --checkpoint own_model:make
PYTHONPATH=examples ros2 launch sipmask_ros camera.launch.py model:=own_model:make
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import sipmask_core as sm


class Lamps:
    """Keeps the border that `sipmask_core.Segmenter` describes."""

    model_name, precision, class_names = "lamps", "uint8", ("lamp",)
    device = torch.device("cpu")

    def __init__(self, score_threshold: float | None) -> None:
        self.score_threshold = score_threshold

    def __call__(self, image: NDArray[np.uint8]) -> sm.Instances:
        """Return a lamp for each bright region of the image, by its share of white."""
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        number, regions = cv2.connectedComponents((grey > 200).astype(np.uint8))
        masks = regions == np.arange(1, number)[:, None, None]  # (N, H, W)
        scores = np.array([grey[mask].mean() / 255 for mask in masks], np.float32)
        found = sm.Instances.from_masks(masks, scores, np.zeros(len(scores)))
        return found[found.scores >= (self.score_threshold or 0)]

    def predict_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[sm.Instances]:
        """Return the instances of several images."""
        return [self(image) for image in images]


def make(device: torch.device, precision: str, score_threshold: float | None) -> sm.Segmenter:
    """Return what segments; a real model would be loaded to the device here."""
    return Lamps(score_threshold)
