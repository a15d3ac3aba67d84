"""A made-up video with true masks: shapes that swerve, cross and hide each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

import sipmask_core as sm

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    from sipmask_core.instances import Instances

SIZE = (480, 640)
EXTENT = np.array(SIZE[::-1])
SHAPES = 10
FRAMES = 150
MIN_VISIBLE = 40  # pixels: what shows less is hidden


def made_up_video(seed: int, motion: str = "waves") -> list[Instances]:
    """Return the visible parts of the shapes in each frame, with their numbers as track ids.

    Ellipses and rectangles of two classes and 40 to 130 pixels, the nearer ones in front of the
    others. motion: one of MOTIONS, how they move.
    """
    rng = np.random.default_rng(seed)
    sides = rng.uniform(40, 130, (SHAPES, 2))
    paths, labels = MOTIONS[motion](rng), rng.integers(0, 2, SHAPES)
    return [_visible(centres, sides, labels) for centres in paths]


def _waves(rng: Generator) -> NDArray[np.float64]:
    """Through the middle, so that they meet, at a few pixels a frame: (FRAMES, SHAPES, 2)."""
    starts = rng.uniform(0, 1, (SHAPES, 2)) * EXTENT
    drifts = (EXTENT / 2 - starts) / rng.uniform(40, 110, (SHAPES, 1))
    swings, turns, phases = (
        rng.uniform(low, high, (SHAPES, 2)) for low, high in ((5, 45), (0.02, 0.08), (0, 6.28))
    )
    t = np.arange(FRAMES)[:, None, None]
    return starts + np.clip(drifts, -4, 4) * t + swings * np.sin(turns * t + phases)


def _bounces(rng: Generator) -> NDArray[np.float64]:
    """Straight on at up to 5 pixels a frame and axis, back from the borders."""
    starts = rng.uniform(0, 1, (SHAPES, 2)) * EXTENT
    ways = rng.uniform(-5, 5, (SHAPES, 2)) * np.arange(FRAMES)[:, None, None]
    return _reflected(starts + ways)


def _walks(rng: Generator) -> NDArray[np.float64]:
    """Now and then each stops or starts for somewhere else, as people do."""
    places = rng.uniform(0, 1, (SHAPES, 2)) * EXTENT
    velocity, aim = np.zeros((SHAPES, 2)), np.zeros((SHAPES, 2))
    paths = []
    for _ in range(FRAMES):
        decides = rng.random((SHAPES, 1)) < 0.05
        goes = rng.random((SHAPES, 1)) < 0.7
        aim = np.where(decides, rng.normal(0, 3, (SHAPES, 2)) * goes, aim)
        velocity = velocity + 0.3 * (aim - velocity)
        places = places + velocity
        paths.append(places)
    return _reflected(np.array(paths))


def _orbits(rng: Generator) -> NDArray[np.float64]:
    """Around the middle, nearer and further, so that they hide each other all the time."""
    radii, turns, phases = (
        rng.uniform(low, high, (SHAPES, 2)) for low, high in ((20, 220), (0.01, 0.05), (0, 6.28))
    )
    t = np.arange(FRAMES)[:, None, None]
    return EXTENT / 2 + radii * np.sin(turns * t + phases)


def _shaken(rng: Generator) -> NDArray[np.float64]:
    """Slow waves, seen by a camera in an unsteady hand."""
    slow = _waves(rng)[np.arange(FRAMES) // 2]
    shake, offset = np.zeros(2), []
    for _ in range(FRAMES):
        shake = 0.8 * shake + rng.normal(0, 4, 2)
        offset.append(shake)
    return slow + np.array(offset)[:, None]


def _reflected(places: NDArray[np.float64]) -> NDArray[np.float64]:
    return EXTENT - np.abs(places % (2 * EXTENT) - EXTENT)


MOTIONS: dict[str, Callable[[Generator], NDArray[np.float64]]] = {
    "waves": _waves,
    "bounces": _bounces,
    "walks": _walks,
    "orbits": _orbits,
    "shaken camera": _shaken,
}


def _visible(
    centres: NDArray[np.float64], sides: NDArray[np.float64], labels: NDArray[np.int64]
) -> Instances:
    """Return what can be seen of shapes whose order is that of their nearness."""
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
