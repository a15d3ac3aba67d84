"""Ways in which the true masks of a video are damaged before a tracker gets them.

Each is a function of the frames and a random generator; a frame that the tracker does not get to
see is None.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

import sipmask_core as sm

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipmask_core.instances import Instances

Frames = list["Instances | None"]


def every(n: int, first: int = 0) -> Callable[[Frames, Any], Frames]:
    """Only every n-th frame."""
    return lambda frames, rng: [f if i % n == first else None for i, f in enumerate(frames)]


def _dropped(share: float) -> Callable[[Frames, Any], Frames]:
    return lambda frames, rng: [f and f[rng.random(len(f)) >= share] for f in frames]


def _jittered(share: float) -> Callable[[Frames, Any], Frames]:
    """Boxes, with their masks, are displaced; a standard deviation of that share of their sides."""

    def moved(instances: Instances, rng: Any) -> Instances:
        sides = instances.boxes[:, 2:] - instances.boxes[:, :2]
        shift = np.rint(rng.normal(0, share, sides.shape) * sides).astype(int)
        size = instances.image_size
        crops = [_move(c, s, size) for c, s in zip(instances.mask_crops, shift, strict=True)]
        boxes = instances.boxes + np.tile(shift, 2).astype(np.float32)
        return replace(instances, boxes=boxes, mask_crops=crops)

    return lambda frames, rng: [f and moved(f, rng) for f in frames]


def _move(crop: sm.MaskCrop, shift: Any, image_size: tuple[int, int]) -> sm.MaskCrop:
    x, y = crop.x + int(shift[0]), crop.y + int(shift[1])
    inside = crop.bitmap[max(0, -y) : image_size[0] - y, max(0, -x) : image_size[1] - x]
    return sm.MaskCrop(max(0, x), max(0, y), inside)


def _with_false_alarms(per_frame: float) -> Callable[[Frames, Any], Frames]:
    """Masks of true objects at places of chance, with scores between 0.3 and 0.9."""

    def added(instances: Instances, rng: Any) -> Instances:
        number = rng.poisson(per_frame) if len(instances) else 0
        chosen = instances[rng.integers(0, max(1, len(instances)), number)]
        height, width = instances.image_size
        crops, boxes = [], []
        for crop in chosen.mask_crops:
            h, w = crop.bitmap.shape
            x, y = (int(rng.integers(0, max(1, room))) for room in (width - w, height - h))
            crops.append(sm.MaskCrop(x, y, crop.bitmap))
            boxes.append((x, y, x + w, y + h))
        return sm.Instances(
            boxes=np.concatenate([instances.boxes, np.array(boxes, np.float32).reshape(-1, 4)]),
            scores=np.concatenate(
                [instances.scores, rng.uniform(0.3, 0.9, number).astype(np.float32)]
            ),
            labels=np.concatenate([instances.labels, chosen.labels]),
            mask_crops=[*instances.mask_crops, *crops],
            image_size=instances.image_size,
        )

    return lambda frames, rng: [f and added(f, rng) for f in frames]


DAMAGE: dict[str, Callable[[Frames, Any], Frames]] = {
    "true masks": every(1),
    "every 2nd frame": every(2),
    "every 3rd frame": every(3),
    "every 5th frame": every(5),
    "every 8th frame": every(8),
    "20 % of detections left out": _dropped(0.2),
    "40 % of detections left out": _dropped(0.4),
    "displaced by 5 % of their size": _jittered(0.05),
    "displaced by 10 % of their size": _jittered(0.1),
    "2 false alarms a frame": _with_false_alarms(2),
}
