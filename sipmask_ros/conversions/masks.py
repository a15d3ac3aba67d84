"""Images of masks: at each pixel a value of the instance that it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from sipmask_core.instances import Instances

_Value = TypeVar("_Value", bound=np.generic)

# In a label mask 0 is nothing, and 255 by vision_msgs/VisionClass what has no label.
MOST_CLASSES = 254


def painted(instances: Instances, values: NDArray[_Value]) -> NDArray[_Value]:
    """Return (H, W) with the value (N,) of the instance that each pixel shows, 0 if it shows none.

    Where masks overlap, that of the higher score counts.
    """
    canvas = np.zeros(instances.image_size, values.dtype)
    for index in reversed(range(len(instances))):
        x, y, bitmap = instances.mask_crops[index]
        h, w = bitmap.shape
        np.copyto(canvas[y : y + h, x : x + w], values[index], where=bitmap)
    return canvas


def label_image(instances: Instances) -> NDArray[np.uint16]:
    """Return (H, W) uint16: 0 is background, i + 1 is instance i; higher scores lie on top."""
    return painted(instances, np.arange(1, len(instances) + 1, dtype=np.uint16))


def label_mask(instances: Instances) -> NDArray[np.uint8]:
    """Return (H, W) uint8: 0 is background, class id + 1 an instance; higher scores lie on top.

    Raise InputError for a class that 8 bits cannot name.
    """
    largest = int(instances.labels.max(initial=0))
    if largest >= MOST_CLASSES:
        raise InputError(
            f"An object is of class {largest}; a label mask has 8 bits and names the classes 0 to"
            f" {MOST_CLASSES - 1}. Choose among them with the parameter classes."
        )
    return painted(instances, (instances.labels + 1).astype(np.uint8))


def confidence(instances: Instances) -> NDArray[np.uint8]:
    """Return (H, W) uint8: 0 is background, 1 to 255 the score of an instance; higher on top."""
    return painted(instances, np.rint(255 * instances.scores).clip(1, 255).astype(np.uint8))


def covered(
    instances: Instances, labels: Collection[int] = (), margin: int = 0
) -> NDArray[np.uint8]:
    """Return (H, W) uint8: 255 at masks of these classes and up to `margin` pixels beside them.

    labels: empty for all classes. The margin is added to all sides, also across the corners.
    """
    canvas = np.zeros(instances.image_size, np.uint8)
    for label, (x, y, bitmap) in zip(instances.labels.tolist(), instances.mask_crops, strict=True):
        if not labels or label in labels:
            h, w = bitmap.shape
            np.copyto(canvas[y : y + h, x : x + w], 255, where=bitmap)
    if not margin:
        return canvas
    grown: Any = cv2.dilate(canvas, np.ones((2 * margin + 1,) * 2, np.uint8))
    return grown
