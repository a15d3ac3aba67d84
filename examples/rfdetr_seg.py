"""RF-DETR-Seg (pip install rfdetr) behind the node, the command line and the tracker.

PYTHONPATH=examples sipmask track street.mp4 --output seen/ --checkpoint rfdetr_seg:make
"""

import numpy as np
from rfdetr import RFDETRSegNano
from rfdetr.assets.coco_classes import COCO_CLASSES

import sipmask_core as sm


class RFDETR:
    model_name, precision = RFDETRSegNano.size, "fp32"
    class_names = tuple(COCO_CLASSES.get(number, f"class {number}") for number in range(91))

    def __init__(self, device, precision, score_threshold, **options):
        if precision not in ("auto", "fp32"):
            raise sm.InputError(f"precision is {precision}; this model computes in fp32.")
        self.device, self.score_threshold = device, score_threshold
        self._model = RFDETRSegNano(device=str(device), **options)

    def __call__(self, image):
        threshold = 0.5 if self.score_threshold is None else self.score_threshold
        rgb = np.ascontiguousarray(image[..., ::-1])
        found = self._model.predict(rgb, threshold=threshold, include_source_image=False)
        masks = np.zeros((0, *image.shape[:2])) if found.mask is None else found.mask
        return sm.Instances.from_masks(masks, found.confidence, found.class_id, found.xyxy)

    def predict_batch(self, images):
        return [self(image) for image in images]


make = RFDETR
