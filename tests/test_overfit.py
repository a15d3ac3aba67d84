"""A small model learns a handful of images by heart: losses, targets and masks fit together."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import torch
from coco_squares import tiny_preset

import sipmask_core as sm
from sipmask_core.preprocess import Normalise
from sipmask_core.presets import Letterbox

SIZE = 128
IMAGES = 8
MOST_STEPS = 250
CHECK_EVERY = 25
ENOUGH = 0.8  # mean mask IoU


def draw_objects(rng):
    """Two shapes that do not touch, on noise: image (H, W, 3) uint8 and its target."""
    image = rng.integers(0, 60, (SIZE, SIZE, 3), np.uint8)
    masks, labels = [], []
    for left in (0, SIZE // 2):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        radius = int(rng.integers(18, 28))
        x, y = left + SIZE // 4, int(rng.integers(radius + 2, SIZE - radius - 2))
        label = int(rng.integers(2))
        if label:
            corners = np.array(
                [[x, y - radius], [x + radius, y + radius], [x - radius, y + radius]]
            )
            cv2.fillPoly(mask, [corners], 1)
        else:
            cv2.circle(mask, (x, y), radius, 1, -1)
        image[mask > 0] = rng.integers(120, 256, 3)
        masks.append(mask)
        labels.append(label)
    boxes = [(x, y, x + w, y + h) for x, y, w, h in map(cv2.boundingRect, masks)]
    return image, {
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "labels": torch.tensor(labels),
        "masks": torch.from_numpy(np.stack(masks)),
    }


def mean_mask_iou(model, images, targets):
    """Of each object with the best mask of its class; an object that is not found counts 0."""
    predictor = sm.Predictor(model, "cpu", "fp32", score_threshold=0.3)
    ious = []
    for image, target in zip(images, targets, strict=True):
        found = predictor(image)
        for mask, label in zip(target["masks"].numpy() > 0, target["labels"], strict=True):
            rivals = found.masks[found.labels == int(label)]
            overlaps = [(mask & rival).sum() / (mask | rival).sum() for rival in rivals]
            ious.append(max(overlaps, default=0.0))
    return float(np.mean(ious))


def test_eight_images_are_learnt_by_heart():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    images, targets = zip(*(draw_objects(rng) for _ in range(IMAGES)), strict=True)
    preset = dataclasses.replace(
        tiny_preset(), resize=Letterbox(SIZE, SIZE), num_bases=8, stage_widths=(16, 32, 32, 32)
    )
    model = sm.build_model(preset, class_names=("circle", "triangle"))
    pixels = torch.from_numpy(np.stack(images))[..., [2, 1, 0]]
    batch = Normalise(preset)(pixels, (SIZE, SIZE), torch.float32)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 3e-3)
    reached = {}
    for step in range(1, MOST_STEPS + 1):
        losses = model.train().losses(batch, targets)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        if step % CHECK_EVERY == 0:
            reached[step] = mean_mask_iou(model, images, targets)
            if reached[step] >= ENOUGH:
                return
    raise AssertionError(f"mean mask IoU by step: {reached}")
