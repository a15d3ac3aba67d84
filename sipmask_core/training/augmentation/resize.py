"""Augmentation of the accurate and the video configurations: a random size, and mirroring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from sipmask_core.errors import InputError
from sipmask_core.model.inputs import resized_size
from sipmask_core.model.presets import KeepRatio
from sipmask_core.training.augmentation.target import Canvas, Target, View, finished, mirrored

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ResizeAugmentation:
    """Images keep their aspect ratio and fill a random size; batches pad them to the largest.

    long, short: the first and the last of the whole numbers of pixels that the sides of `KeepRatio`
    are drawn from, independently of each other and uniformly. flip: probability of mirroring.

    Raise InputError if a range is empty or falls below 96 pixels.
    """

    long: tuple[int, int]
    short: tuple[int, int]
    flip: float = 0.5

    def __post_init__(self) -> None:
        for name, (low, high) in (("long", self.long), ("short", self.short)):
            if not 96 <= low <= high:
                raise InputError(
                    f"The training size {name} is {low} to {high}; accepted is a range from 96 on."
                )

    def view(
        self,
        rng: np.random.Generator,
        size: tuple[int, int],
        boxes: NDArray[np.float32],
        canvas: Canvas,
    ) -> View:
        """Draw a view, see `Family`; the boxes do not matter."""
        long, short = (
            int(rng.integers(*sides, endpoint=True)) for sides in (self.long, self.short)
        )
        height, width = resized_size(*size, KeepRatio(long, short))
        is_mirrored = rng.random() < self.flip

        def apply(image: NDArray[np.uint8], target: Target) -> tuple[NDArray[np.uint8], Target]:
            image, target = resized(image, target, (height, width), canvas.inclusive)
            target = finished(target, canvas)
            return mirrored(image, target, canvas.inclusive) if is_mirrored else (image, target)

        return apply


def resized(
    image: NDArray[np.uint8], target: Target, size: tuple[int, int], inclusive: bool
) -> tuple[NDArray[np.uint8], Target]:
    """Scale image, boxes and masks to (H, W) = size.

    The image is interpolated as at test time, masks take the nearest pixel. With `inclusive`, boxes
    lose their last pixel before they are scaled, as the authors do.
    """
    h, w = image.shape[:2]
    boxes = target["boxes"].copy()
    if inclusive:
        boxes[:, 2:] -= 1
    boxes *= np.array([size[1] / w, size[0] / h] * 2, np.float32)
    pixels = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(pixels, np.uint8), {
        **target,
        "boxes": boxes,
        "masks": nearest(target["masks"], size),
        "ignore": nearest(target["ignore"][None], size)[0],
    }


def nearest(masks: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale (n, h, w) to (n, H, W) = (n, *size), each pixel from the one that it falls into."""
    out = np.empty((len(masks), *size), np.uint8)
    for large, mask in zip(out, masks, strict=True):
        cv2.resize(mask, size[::-1], dst=large, interpolation=cv2.INTER_NEAREST)
    return out
