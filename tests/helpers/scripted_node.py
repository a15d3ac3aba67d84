"""segmentation_node with a predictor whose answers are known; tests run it as a process.

Blue pixels are the first instance and red ones the second, so a picture says what must come out.
A picture that is all green makes the predictor fail, one with a green corner cannot be drawn.

The parameter `model` is obeyed as ever, but only gives the predictor its name. Environment
variables name files: without that of SCRIPTED_GATE, pictures that are not black wait for it;
without that of SCRIPTED_LOADING, models do; that of SCRIPTED_CALLS gets a line for each batch with
the sizes of its pictures, such as `64x48 32x24`.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sipmask_core.instances import Instances
from sipmask_core.mask_crop import MaskCrop
from sipmask_core.runtime.stopwatch import stage

CLASS_NAMES = ("person", "dog")
SCORES = (0.9, 0.6)
GREEN = (0, 255, 0)


def crop(mask):
    """Return the mask, cut to the rectangle that it touches."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    y, x = rows[0], columns[0]
    return MaskCrop(int(x), int(y), mask[y : rows[-1] + 1, x : columns[-1] + 1])


def expected(image, score_threshold=0.3):
    """Return the instances that the scripted predictor sees in an (H, W, 3) BGR image."""
    found = [(label, image[..., channel] > 127) for label, channel in enumerate((0, 2))]
    found = [
        (label, crop(mask))
        for label, mask in found
        if mask.any() and SCORES[label] >= score_threshold
    ]
    labels = [label for label, _ in found]
    return Instances(
        boxes=np.array(
            [(c.x, c.y, c.x + c.bitmap.shape[1], c.y + c.bitmap.shape[0]) for _, c in found],
            np.float32,
        ).reshape(-1, 4),
        scores=np.array([SCORES[label] for label in labels], np.float32),
        labels=np.array(labels, np.int64),
        mask_crops=[c for _, c in found],
        image_size=image.shape[:2],
    )


def pass_gate(variable):
    """Wait for the file that the environment variable names; leave another beside it meanwhile."""
    gate = Path(os.environ.get(variable, __file__))
    while not gate.exists():
        gate.with_suffix(".waiting").touch()
        time.sleep(0.01)


class ScriptedPredictor:
    device = torch.device("cpu")
    precision = "fp32"
    class_names = CLASS_NAMES

    def __init__(self, model_name: str = "scripted", score_threshold: float | None = 0.3) -> None:
        self.model_name = model_name
        self.score_threshold = score_threshold

    def __call__(self, image: NDArray[np.uint8]) -> Instances:
        return self.predict_batch([image])[0]

    def predict_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        if calls := os.environ.get("SCRIPTED_CALLS"):
            with Path(calls).open("a") as file:
                print(*(f"{image.shape[1]}x{image.shape[0]}" for image in images), file=file)
        if any(image.any() for image in images):
            pass_gate("SCRIPTED_GATE")
        with stage("network"):
            if any((image == GREEN).all() for image in images):
                raise RuntimeError("the script says so")
            return [expected(image, self.score_threshold) for image in images]


def load(wanted):
    pass_gate("SCRIPTED_LOADING")
    name = load_predictor(wanted).model_name if wanted.model else "scripted"
    return ScriptedPredictor(name, wanted.lowest_score)


def draw(image, *arguments, **options):
    if (image[0, 0] == GREEN).all():
        raise RuntimeError("the picture cannot be drawn")
    return draw_instances(image, *arguments, **options)


if __name__ == "__main__":
    from sipmask_core.drawing import draw_instances
    from sipmask_ros import perception
    from sipmask_ros.node.model_loader import load_predictor
    from sipmask_ros.node.segmentation_node import main

    perception.draw_instances = draw
    main(load=load)
