"""What a training image and its objects are, to all augmentations alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypedDict

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_SIDE = 2.0  # pixels: an object whose box is thinner than this cannot be learnt from
MIN_AREA = 12  # mask pixels, likewise


class Target(TypedDict):
    """The objects of one image of H x W pixels.

    boxes: (n, 4) float32, x0 y0 x1 y1 in pixels. labels: (n,) int64, 0-based. ids: (n,) int64, the
    annotation's or, in a video, the track's. masks: (n, H, W) uint8, 0 or 1; of an object without a
    mask, which `has_mask` (n,) bool tells, the inside of its box. uncertain: (n,) bool, objects
    that may be there or not: within their boxes, neither is to be learnt of their class. ignore:
    (H, W) uint8, 1 in the regions of crowds, where background is not to be learnt.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]
    masks: NDArray[np.uint8]
    has_mask: NDArray[np.bool_]
    uncertain: NDArray[np.bool_]
    ignore: NDArray[np.uint8]


Picture = tuple["NDArray[np.uint8]", Target]
"""(H, W, 3) uint8 BGR and the objects in it."""

View = Callable[["NDArray[np.uint8]", Target], Picture]
"""One drawn augmentation: (H, W, 3) uint8 BGR and its target -> the same as the network sees them.

It can be repeated: frames of one video get the same view.
"""


class Family(Protocol):
    """What each family of augmentation offers."""

    def view(
        self,
        rng: np.random.Generator,
        size: tuple[int, int],
        boxes: NDArray[np.float32],
        canvas: Canvas,
    ) -> View:
        """Draw what happens to an image of (H, W) = size.

        boxes: (n, 4), those in it that a view may have to keep in sight.
        """


@dataclass(frozen=True)
class Canvas:
    """What a preset asks of every training image.

    size: (H, W); None if each image has its own. fill: the BGR colour of what no image covers.
    inclusive: boxes end on their last pixel instead of after it, as in the authors' code.
    """

    size: tuple[int, int] | None
    fill: tuple[int, int, int]
    inclusive: bool

    def turned_for(self, image_size: tuple[int, int]) -> Canvas:
        """Return the canvas turned, if need be, to be higher than wide just as the image is."""
        if self.size is None or (self.size[0] > self.size[1]) == (image_size[0] > image_size[1]):
            return self
        return replace(self, size=(self.size[1], self.size[0]))


def finished(target: Target, canvas: Canvas) -> Target:
    """Clip the target to its image; drop what cannot be learnt from, unless `canvas.inclusive`."""
    if not canvas.inclusive:
        return visible(target)
    h, w = target["ignore"].shape
    boxes = np.clip(target["boxes"], 0, [w - 1, h - 1] * 2).astype(np.float32)
    return {**target, "boxes": boxes}


def mirrored(
    image: NDArray[np.uint8], target: Target, inclusive: bool
) -> tuple[NDArray[np.uint8], Target]:
    """Exchange left and right in image, boxes and masks."""
    right = image.shape[1] - (1 if inclusive else 0)
    boxes = target["boxes"].copy()
    boxes[:, [0, 2]] = right - target["boxes"][:, [2, 0]]
    return image[:, ::-1].copy(), {
        **target,
        "boxes": boxes,
        "masks": target["masks"][..., ::-1].copy(),
        "ignore": target["ignore"][:, ::-1].copy(),
    }


def chosen(target: Target, keep: NDArray[np.bool_]) -> Target:
    """Keep the objects that `keep` (n,) marks."""
    if keep.all():
        return target
    return Target(
        boxes=target["boxes"][keep],
        labels=target["labels"][keep],
        ids=target["ids"][keep],
        masks=target["masks"][keep],
        has_mask=target["has_mask"][keep],
        uncertain=target["uncertain"][keep],
        ignore=target["ignore"],
    )


def visible(target: Target) -> Target:
    """Keep the objects that can still be seen, each box within a pixel of its mask's bounds."""
    bounds = mask_bounds(target["masks"])
    low, high = bounds[:, :2], bounds[:, 2:]
    boxes = np.concatenate(
        [
            np.clip(target["boxes"][:, :2], low - 1, low + 0.5),
            np.clip(target["boxes"][:, 2:], high - 0.5, high + 1),
        ],
        axis=1,
    )
    h, w = target["masks"].shape[1:]
    boxes = np.clip(boxes, 0, [w, h, w, h]).astype(np.float32)
    sides = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
    areas = target["masks"].sum(axis=(1, 2), dtype=np.int64)
    return chosen({**target, "boxes": boxes}, (sides >= MIN_SIDE) & (areas >= MIN_AREA))


def mask_bounds(masks: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Bound the non-zero pixels of masks (n, H, W): x0 y0 x1 y1 (n, 4); zeros for an empty mask."""
    bounds = np.zeros((len(masks), 4), np.int64)
    for row, mask in zip(bounds, masks, strict=True):
        x, y, w, h = cv2.boundingRect(mask)
        row[:] = x, y, x + w, y + h
    return bounds
