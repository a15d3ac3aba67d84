"""A small model learns a handful of images by heart: losses, targets and masks fit together."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from coco_squares import tiny_preset

import sipmask_core as sm
from sipmask_core.model.inputs import Normalise
from sipmask_core.model.presets import Letterbox
from sipmask_core.training.objective import named_losses

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

SIZE = 128
IMAGES = 4
MOST_STEPS = 250
CHECK_EVERY = 25
ENOUGH = 0.8  # mean mask IoU; and each object is found
MATCHED = 0.1  # of the loss that tells objects apart; 0.7 is guessing between two
SCORE = 0.3


def draw(rng, objects, heights):
    """Draw a picture (H, W, 3) uint8 of objects on noise; return it with its target.

    objects: (label, colour, radius) of each, side by side; heights: y of each centre.
    """
    image = rng.integers(0, 60, (SIZE, SIZE, 3), np.uint8)
    masks = []
    for column, ((label, colour, radius), y) in enumerate(zip(objects, heights, strict=True)):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        x = SIZE // 4 + column * SIZE // 2
        if label:
            corners = np.array(
                [[x, y - radius], [x + radius, y + radius], [x - radius, y + radius]]
            )
            cv2.fillPoly(mask, [corners], 1)
        else:
            cv2.circle(mask, (x, y), radius, 1, -1)
        image[mask > 0] = colour
        masks.append(mask)
    boxes = [(x, y, x + w, y + h) for x, y, w, h in map(cv2.boundingRect, masks)]
    return image, {
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "labels": torch.tensor([label for label, _, _ in objects]),
        "masks": torch.from_numpy(np.stack(masks)),
    }


def random_objects(rng):
    """Return two objects, as `draw` takes them."""
    return [
        (int(rng.integers(2)), rng.integers(120, 256, 3), int(rng.integers(18, 28)))
        for _ in range(2)
    ]


def random_heights(rng):
    """Return where two objects are, as `draw` takes it."""
    return [int(y) for y in rng.integers(30, SIZE - 30, 2)]


def mask_ious(model, images, targets):
    """Return each object's IoU with the best mask of its class; 0 if it is not found."""
    predictor = sm.Predictor(model, "cpu", "fp32", score_threshold=SCORE)
    ious = []
    for image, target in zip(images, targets, strict=True):
        found = predictor(image)
        for mask, label in zip(target["masks"].numpy() > 0, target["labels"], strict=True):
            rivals = found.masks[found.labels == int(label)]
            overlaps = [(mask & rival).sum() / (mask | rival).sum() for rival in rivals]
            ious.append(max(overlaps, default=0.0))
    return np.array(ious)


def small_preset(**changes):
    return dataclasses.replace(
        tiny_preset(),
        resize=Letterbox(SIZE, SIZE),
        num_bases=8,
        stage_widths=(16, 32, 32, 32),
        **changes,
    )


def network_input(preset, images):
    """Turn images (H, W, 3) uint8 BGR into (N, 3, H, W), normalised."""
    pixels = torch.from_numpy(np.stack(images))[..., [2, 1, 0]]
    return Normalise(preset)(pixels, (SIZE, SIZE), torch.float32)


def learn_by_heart(model, images, targets):
    """Train on one batch until every mask is good; raise AssertionError if they never are."""
    batch = network_input(model.preset, images)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 3e-3)
    reached = {}
    for step in range(1, MOST_STEPS + 1):
        losses = named_losses(model.train(), batch, targets)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        if step % CHECK_EVERY == 0:
            ious = mask_ious(model, images, targets)
            reached[step] = (ious.mean(), ious.min())
            told_apart = "loss_match" not in losses or losses["loss_match"] < MATCHED
            if ious.mean() >= ENOUGH and ious.min() >= 0.5 and told_apart:
                return
    raise AssertionError(f"mean and lowest mask IoU by step: {reached}")


def test_four_images_are_learnt_by_heart():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    drawn = [draw(rng, random_objects(rng), random_heights(rng)) for _ in range(IMAGES)]
    model = sm.build_model(small_preset(), class_names=("circle", "triangle"))
    learn_by_heart(model, *zip(*drawn, strict=True))


def test_four_frames_of_video_are_learnt_by_heart_ids_included():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    preset = small_preset(embedding_channels=16)
    images, targets = [], []
    for _ in range(IMAGES // 2):
        left, right = random_objects(rng)
        # The two change places, so that position says nothing about who is who.
        first, target = draw(rng, (left, right), random_heights(rng))
        second, other = draw(rng, (right, left), random_heights(rng))
        for own, reference, there in ((target, second, other), (other, first, target)):
            own["reference_image"] = network_input(preset, [reference])[0]
            own["reference_boxes"] = there["boxes"]
            own["reference_match"] = torch.tensor([2, 1])
        images += [first, second]
        targets += [target, other]
    model = sm.build_model(preset, class_names=("circle", "triangle"))
    learn_by_heart(model, images, targets)

    predictor = sm.Predictor(model, "cpu", "fp32", score_threshold=SCORE)
    for first, second in zip(images[::2], images[1::2], strict=True):
        before, after = predictor.track([first, second])
        for side in (0, 1):
            assert id_on(before, side) == id_on(after, 1 - side)


def id_on(instances, side):
    """Return the track id of the surest detection in the left (0) or right (1) half."""
    middle = (instances.boxes[:, 0] + instances.boxes[:, 2]) / 2
    return instances.track_ids[(middle > SIZE / 2) == side][0]
