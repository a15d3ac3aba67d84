"""torchvision's Mask R-CNN behind the node, the command line and the tracker.

PYTHONPATH=examples sipmask predict photo.jpg --output seen/ --checkpoint torchvision_mask_rcnn:make
"""

import torch
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights, maskrcnn_resnet50_fpn

import sipmask_core as sm

TRAINED = MaskRCNN_ResNet50_FPN_Weights.COCO_V1  # torchvision downloads them at the first use


class MaskRCNN:
    model_name, precision = "maskrcnn_resnet50_fpn", "fp32"
    class_names = tuple(TRAINED.meta["categories"])

    def __init__(self, device, precision, score_threshold, weights=TRAINED):
        if precision not in ("auto", "fp32"):
            raise sm.InputError(f"precision is {precision}; this model computes in fp32.")
        self.device, self.score_threshold = device, score_threshold
        self._model = maskrcnn_resnet50_fpn(weights=weights, weights_backbone=None)
        self._model.eval().to(device)

    def __call__(self, image):
        return self.predict_batch([image])[0]

    @torch.inference_mode()
    def predict_batch(self, images):
        bgr = [torch.from_numpy(image).to(self.device).permute(2, 0, 1) for image in images]
        return [self._instances(found) for found in self._model([x.flip(0) / 255 for x in bgr])]

    def _instances(self, found):
        keep = found["scores"] >= (self.score_threshold or 0)
        boxes, scores, labels = (found[name][keep].cpu() for name in ("boxes", "scores", "labels"))
        masks = found["masks"][keep, 0] > 0.5  # (N, H, W)
        return sm.Instances.from_masks(masks.cpu(), scores, labels, boxes)


make = MaskRCNN
