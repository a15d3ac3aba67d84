"""Any ONNX network: RGB image (1, 3, H, W) in; boxes, scores, labels and masks (N, H, W) out.

export NETWORK=mine.onnx CLASSES=cat,dog PYTHONPATH=examples
sipmask predict photo.jpg --output seen/ --checkpoint onnx_network:make
"""

import os

import cv2
import numpy as np
import onnxruntime
import torch

import sipmask_core as sm


class OnnxNetwork:
    model_name, precision = "onnx", "fp32"

    def __init__(self, device, precision, score_threshold):
        self.device, self.score_threshold = torch.device("cpu"), score_threshold
        self.class_names = tuple(os.environ["CLASSES"].split(","))
        self._session = onnxruntime.InferenceSession(os.environ["NETWORK"])

    def __call__(self, image):
        entry = self._session.get_inputs()[0]
        (h, w), (height, width) = image.shape[:2], entry.shape[2:]
        rgb = cv2.cvtColor(cv2.resize(image, (width, height)), cv2.COLOR_BGR2RGB)
        x = np.float32(rgb.transpose(2, 0, 1)[None]) / 255
        found = self._session.run(("boxes", "scores", "labels", "masks"), {entry.name: x})
        boxes, scores, labels, masks = (a[found[1] >= (self.score_threshold or 0)] for a in found)
        whole = np.array([cv2.resize(mask, (w, h)) > 0.5 for mask in masks]).reshape(-1, h, w)
        scale = np.array([w / width, h / height] * 2)
        return sm.Instances.from_masks(whole, scores, labels, boxes * scale)

    def predict_batch(self, images):
        return [self(image) for image in images]


make = OnnxNetwork
