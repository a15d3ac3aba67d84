"""A made-up video with true masks: shapes that swerve, cross and hide each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

import sipmask_core as sm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sipmask_core.instances import Instances

SIZE = (480, 640)
SHAPES = 10
FRAMES = 150
MIN_VISIBLE = 40  # pixels: what shows less is hidden


def made_up_video(seed: int) -> list[Instances]:
    """The visible parts of the shapes in each frame, with their numbers as track ids.

    Ellipses and rectangles of two classes and 40 to 130 pixels pass through the middle on waves,
    at a few pixels a frame, the nearer ones in front of the others.
    """
    rng = np.random.default_rng(seed)
    sides = rng.uniform(40, 130, (SHAPES, 2))
    starts = rng.uniform(0, 1, (SHAPES, 2)) * SIZE[::-1]
    # Towards the middle, so that they meet.
    drifts = (np.array(SIZE[::-1]) / 2 - starts) / rng.uniform(40, 110, (SHAPES, 1))
    swings, turns, phases = (
        rng.uniform(low, high, (SHAPES, 2)) for low, high in ((5, 45), (0.02, 0.08), (0, 6.28))
    )
    labels = rng.integers(0, 2, SHAPES)
    frames = []
    for t in range(FRAMES):
        centres = starts + np.clip(drifts, -4, 4) * t + swings * np.sin(turns * t + phases)
        frames.append(_visible(centres, sides, labels))
    return frames


def _visible(
    centres: NDArray[np.float64], sides: NDArray[np.float64], labels: NDArray[np.int64]
) -> Instances:
    """What can be seen of shapes whose order is that of their nearness."""
    covered = np.zeros(SIZE, np.uint8)
    numbers, boxes, crops = [], [], []
    for number, (centre, side) in enumerate(zip(centres, sides, strict=True)):
        shape = np.zeros(SIZE, np.uint8)
        corners = np.rint([centre - side / 2, centre + side / 2]).astype(int).tolist()
        if number % 2:
            cv2.rectangle(shape, corners[0], corners[1], 1, -1)
        else:
            middle, half = np.rint(centre).astype(int).tolist(), (side / 2).astype(int).tolist()
            cv2.ellipse(shape, middle, half, 0, 0, 360, 1, -1)
        seen = shape & ~covered
        covered |= shape
        if seen.sum() < MIN_VISIBLE:
            continue
        x, y, w, h = cv2.boundingRect(seen)
        numbers.append(number)
        boxes.append((x, y, x + w, y + h))
        crops.append(sm.MaskCrop(x, y, seen[y : y + h, x : x + w].astype(bool)))
    return sm.Instances(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.full(len(numbers), 0.9, np.float32),
        labels=labels[numbers],
        mask_crops=crops,
        image_size=SIZE,
        track_ids=np.array(numbers, np.int64),
    )
