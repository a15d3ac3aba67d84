"""torchvision's Mask R-CNN behind the node, the command line and the tracker.

PYTHONPATH=examples sipmask predict photo.jpg --output seen/ --checkpoint torchvision_mask_rcnn:make
"""

import numpy as np
import torch
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights as Weights
from torchvision.models.detection import maskrcnn_resnet50_fpn as build

import sipmask_core as sm


class MaskRCNN:
    """Keeps the border that `sipmask_core.Segmenter` describes."""

    model_name, precision = "maskrcnn_resnet50_fpn", "fp32"
    class_names = tuple(Weights.COCO_V1.meta["categories"])

    def __init__(self, device, precision, score_threshold, weights=Weights.COCO_V1):
        if precision not in ("auto", "fp32"):
            raise sm.InputError(f"precision is {precision}; this model computes in fp32.")
        self.device, self.score_threshold = device, score_threshold or 0.05
        self._model = build(weights=weights, weights_backbone=None).eval().to(device)

    def __call__(self, image):
        return self.predict_batch([image])[0]

    @torch.inference_mode()
    def predict_batch(self, images):
        rgb = [torch.from_numpy(image[..., ::-1].copy()).to(self.device) for image in images]
        return [self._instances(f) for f in self._model([x.permute(2, 0, 1) / 255 for x in rgb])]

    def _instances(self, found):
        keep = found["scores"] >= self.score_threshold
        boxes, scores, labels = (found[k][keep].cpu().numpy() for k in ("boxes", "scores", "labels"))
        masks = (found["masks"][keep, 0] > 0.5).cpu().numpy()
        return sm.Instances.from_masks(masks, scores, labels, boxes)


make = MaskRCNN
