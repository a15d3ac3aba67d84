"""A hand-made COCO file and results for it, and a predictor that finds bright squares."""

import json
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from sipmask_core.data.coco import read_annotations
from sipmask_core.instances import Instances
from sipmask_core.mask_crop import MaskCrop

SIZE = (100, 100)
FIRST, SECOND = (10, 10, 60, 60), (20, 30, 70, 80)  # boxes x0, y0, x1, y1


def rle(x0, y0, x1, y1):
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    encoded = coco_mask.encode(mask)
    return {"size": list(SIZE), "counts": encoded["counts"].decode()}


def entry(number, image_id, box, **more):
    x0, y0, x1, y1 = box
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 4,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "segmentation": rle(*box),
        **more,
    }


def result(image_id, box, confidence, **more):
    x0, y0, x1, y1 = box
    return {
        "image_id": image_id,
        "category_id": 4,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "segmentation": rle(*box),
        "score": confidence,
        **more,
    }


def ground_truth(folder, entries, images=2):
    path = folder / "truth.json"
    document = {
        "images": [
            {"id": i + 1, "file_name": f"{i + 1}.png", "height": SIZE[0], "width": SIZE[1]}
            for i in range(images)
        ],
        "categories": [{"id": 4, "name": "square"}],
        "annotations": entries,
    }
    path.write_text(json.dumps(document))
    return read_annotations(path)


class FakePredictor:
    """Finds the bright square of each picture, also as a class that the data set lacks."""

    class_names = ("unicorn", "square")
    device = torch.device("cpu")
    precision = "fp32"
    model_name = "fake"
    score_threshold: float | None = None

    def __call__(self, image: NDArray[np.uint8]) -> Instances:
        return self.segment(image)

    def predict_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        return [self(image) for image in images]

    def segment(self, image: NDArray[np.uint8]) -> Instances:
        y, x = np.nonzero(image[..., 2] > 200)
        if not len(x):
            return Instances.empty(image.shape[:2])
        box = (x.min(), y.min(), x.max() + 1, y.max() + 1)
        full = np.ones((box[3] - box[1], box[2] - box[0]), bool)
        return Instances(
            boxes=np.float32([box, box]),
            scores=np.float32([0.9, 0.8]),
            labels=np.array([1, 0]),
            mask_crops=[MaskCrop(int(box[0]), int(box[1]), full)] * 2,
            image_size=image.shape[:2],
        )
