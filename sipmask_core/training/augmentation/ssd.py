"""Augmentation of the real-time configurations: that of SSD (Liu et al., ECCV 2016, section 2.2).

`torchvision.transforms.v2` has transforms of the same names, but other distributions: its
RandomPhotometricDistort scales the brightness instead of adding to it and pulls contrast towards
the mean grey, and its RandomIoUCrop asks one object, not all, for the overlap. They also take
several times as long, since here only what the crop shows of the expanded canvas is ever filled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from sipmask_core.training.augmentation.resize import nearest
from sipmask_core.training.augmentation.target import (
    Canvas,
    Target,
    View,
    chosen,
    finished,
    mirrored,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

CROP_TRIES = 50  # for each required overlap, before another is drawn
CROP_ASPECT = (0.5, 2.0)  # of a crop's height to its width


@dataclass(frozen=True)
class SsdAugmentation:
    """Colours, expansion, crop, stretch to the canvas and mirroring, in this order.

    brightness: the most that is added or subtracted, of 255. contrast, saturation: ranges of
    factors. hue: the most degrees either way. Each of these, and a shuffle of the channels, happens
    with probability 1/2.
    expand: range of the factor by which the canvas grows beyond the image, which lies in it at
    random; it happens with probability 1/2.
    min_ious: a crop has at least one of these IoUs with every object, or any IoU, or there is no
    crop, all equally likely. min_crop: least side of the crop, relative to the image's. Objects
    whose centre is outside are left out.
    flip: probability of mirroring.
    """

    brightness: float = 32.0
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: float = 18.0
    expand: tuple[float, float] = (1.0, 4.0)
    min_ious: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    min_crop: float = 0.3
    flip: float = 0.5

    def view(
        self,
        rng: np.random.Generator,
        size: tuple[int, int],
        boxes: NDArray[np.float32],
        canvas: Canvas,
    ) -> View:
        """Draw a view, see `Family`; a crop may have to overlap with all of the boxes."""
        assert canvas.size is not None
        out = canvas.size
        colours = random_colours(rng, self)
        expanded, offset = random_expansion(rng, size, self)
        crop = random_crop(rng, expanded, boxes + np.tile(offset, 2), self)
        # What is cut out, in the image's own pixels.
        window = (crop or Window(0, 0, expanded[1], expanded[0])).moved(-offset[0], -offset[1])
        is_mirrored = rng.random() < self.flip

        def apply(image: NDArray[np.uint8], target: Target) -> tuple[NDArray[np.uint8], Target]:
            if crop is not None:
                target = chosen(target, window.holds_centres(target["boxes"]))
            image, target = cut(recolour(image, colours), target, window, out, canvas)
            return mirrored(image, target, canvas.inclusive) if is_mirrored else (image, target)

        return apply


class Colours(NamedTuple):
    """A drawn change of colours; see `recolour`."""

    brightness: float = 0.0
    contrast_before: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    contrast_after: float = 1.0
    channels: tuple[int, ...] = (0, 1, 2)


def random_colours(rng: np.random.Generator, augmentation: SsdAugmentation) -> Colours:
    """Draw each change with probability 1/2; contrast before or after saturation and hue."""
    a = augmentation

    def maybe(neutral: float, low: float, high: float) -> float:
        return float(rng.uniform(low, high)) if rng.random() < 0.5 else neutral

    brightness = maybe(0.0, -a.brightness, a.brightness)
    contrast = maybe(1.0, *a.contrast)
    before, after = (contrast, 1.0) if rng.random() < 0.5 else (1.0, contrast)
    saturation = maybe(1.0, *a.saturation)
    hue = maybe(0.0, -a.hue, a.hue)
    channels = rng.permutation(3) if rng.random() < 0.5 else range(3)
    return Colours(brightness, before, saturation, hue, after, tuple(int(c) for c in channels))


def recolour(image: NDArray[np.uint8], colours: Colours) -> NDArray[np.uint8]:
    """Change the colours of (H, W, 3) uint8 BGR; what leaves 0 to 255 saturates at the end."""
    values = (np.arange(256, dtype=np.float32) + colours.brightness) * colours.contrast_before
    if colours.saturation == 1 and colours.hue == 0:
        changed = cv2.LUT(image, _saturated(values * colours.contrast_after))
    else:
        hsv = np.asarray(cv2.cvtColor(cv2.LUT(image, values), cv2.COLOR_BGR2HSV), np.float32)
        hsv[..., 0] += colours.hue % 360  # the way back takes up to 720 degrees, but none below 0
        hsv[..., 1] *= colours.saturation
        bgr = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        changed = _saturated(np.asarray(bgr) * np.float32(colours.contrast_after))
    if colours.channels != (0, 1, 2):
        changed = changed[..., colours.channels]
    return np.ascontiguousarray(changed, np.uint8)


def _saturated(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


class Window(NamedTuple):
    """A rectangle of whole pixels; its sides may lie outside the image."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        """The sides (H, W)."""
        return self.bottom - self.top, self.right - self.left

    def moved(self, x: int, y: int) -> Window:
        """Return the window x pixels further right and y further down."""
        return Window(self.left + x, self.top + y, self.right + x, self.bottom + y)

    def holds_centres(self, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which boxes (n, 4) have their centre strictly inside."""
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside: NDArray[np.bool_] = (centres > self[:2]) & (centres < self[2:])
        return np.asarray(inside.all(axis=1))

    def overlaps(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the IoU (n,) with boxes (n, 4)."""
        low, high = np.maximum(boxes[:, :2], self[:2]), np.minimum(boxes[:, 2:], self[2:])
        intersection = np.clip(high - low, 0, None).prod(axis=1)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        height, width = self.size
        return intersection / (areas + height * width - intersection)


def random_expansion(
    rng: np.random.Generator, size: tuple[int, int], augmentation: SsdAugmentation
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Draw the (H, W) of the expanded canvas, and the (x, y) at which the image lies in it."""
    h, w = size
    if rng.random() < 0.5:
        return size, (0, 0)
    ratio = rng.uniform(*augmentation.expand)
    left, top = int(rng.uniform(0, w * ratio - w)), int(rng.uniform(0, h * ratio - h))
    return (int(h * ratio), int(w * ratio)), (left, top)


def random_crop(
    rng: np.random.Generator,
    size: tuple[int, int],
    boxes: NDArray[np.float32],
    augmentation: SsdAugmentation,
) -> Window | None:
    """Draw a crop of an image of (H, W) with these boxes (n, 4); None leaves it whole.

    A crop holds the centre of at least one object, if there are any.
    """
    h, w = size
    choices = (None, *augmentation.min_ious, 0.0)
    while True:
        min_iou = choices[rng.integers(len(choices))]
        if min_iou is None:
            return None
        for _ in range(CROP_TRIES):
            width, height = rng.uniform(augmentation.min_crop, 1, 2) * (w, h)
            if not CROP_ASPECT[0] <= height / width <= CROP_ASPECT[1]:
                continue
            left, top = rng.uniform(0, w - width), rng.uniform(0, h - height)
            crop = Window(int(left), int(top), int(left + width), int(top + height))
            if min(crop.size) < 1:
                continue
            if len(boxes) == 0:
                return crop
            if crop.overlaps(boxes).min() >= min_iou and crop.holds_centres(boxes).any():
                return crop


def cut(
    image: NDArray[np.uint8],
    target: Target,
    window: Window,
    size: tuple[int, int],
    canvas: Canvas,
) -> tuple[NDArray[np.uint8], Target]:
    """Cut the window out of image, boxes and masks, and stretch it to (H, W) = size."""
    h, w = window.size
    boxes = target["boxes"].copy()
    if canvas.inclusive:
        boxes[:, 2:] -= 1
    boxes = np.clip(boxes - np.tile(window[:2], 2), 0, [w, h] * 2)
    boxes *= np.array([size[1] / w, size[0] / h] * 2)
    planes = np.concatenate([target["masks"], target["ignore"][None]])
    planes = nearest(np.stack([_seen(plane, window, 0) for plane in planes]), size)
    stretched = cv2.resize(_seen(image, window, canvas.fill), size[::-1])
    moved: Target = {
        **target,
        "boxes": boxes.astype(np.float32),
        "masks": planes[:-1],
        "ignore": planes[-1],
    }
    return np.asarray(stretched, np.uint8), finished(moved, canvas)


def _seen(
    image: NDArray[np.uint8], window: Window, fill: int | tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Return the window's pixels, (H, W) or (H, W, 3); `fill` outside the image."""
    h, w = image.shape[:2]
    left, top = max(window.left, 0), max(window.top, 0)
    right, bottom = min(window.right, w), min(window.bottom, h)
    if (left, top, right, bottom) == window:
        return image[top:bottom, left:right]
    seen = np.full((*window.size, *image.shape[2:]), fill, np.uint8)
    if left < right and top < bottom:
        seen[top - window.top : bottom - window.top, left - window.left : right - window.left] = (
            image[top:bottom, left:right]
        )
    return seen
