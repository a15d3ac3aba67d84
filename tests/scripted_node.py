"""segmentation_node with a predictor whose answers are known; tests run it as a process.

Blue pixels are the first instance and red ones the second, so a picture says what must come out.
A picture that is all green makes the predictor fail. With the environment variable SCRIPTED_GATE,
a picture that is not black waits until the file of that name exists.
"""

import os
import time
from pathlib import Path

import numpy as np
import torch

from sipmask_core.instances import Instances, MaskCrop
from sipmask_core.stopwatch import stage

CLASS_NAMES = ("person", "dog")
SCORES = (0.9, 0.6)


def crop(mask):
    """The mask, cut to the rectangle that it touches."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    y, x = rows[0], columns[0]
    return MaskCrop(int(x), int(y), mask[y : rows[-1] + 1, x : columns[-1] + 1])


def expected(image):
    """The instances that the scripted predictor sees in an (H, W, 3) BGR image."""
    found = [(label, image[..., channel] > 127) for label, channel in enumerate((0, 2))]
    found = [(label, crop(mask)) for label, mask in found if mask.any()]
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


class ScriptedPredictor:
    device = torch.device("cpu")
    precision = "fp32"
    score_threshold = 0.3
    model_name = "scripted"
    class_names = CLASS_NAMES

    def __call__(self, image):
        return self.predict_batch([image])[0]

    def predict_batch(self, images):
        gate = os.environ.get("SCRIPTED_GATE")
        while gate and any(image.any() for image in images) and not Path(gate).exists():
            time.sleep(0.01)
        with stage("network"):
            if any(image.all(axis=(0, 1)).tolist() == [False, True, False] for image in images):
                raise RuntimeError("the script says so")
            return [expected(image) for image in images]


if __name__ == "__main__":
    from sipmask_ros.segmentation_node import main

    raise SystemExit(main(load=lambda wanted: ScriptedPredictor()))
