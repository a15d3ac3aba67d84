"""Training augmentation: one affine warp per image and its masks, then colours by look-up table.

Flip, scale, crop and letterbox are composed into a single matrix, so each pixel is resampled once.
That is an order of magnitude cheaper than the chain of `torchvision.transforms.v2` operators with
the same effect, which matters where the processor that loads is the processor that trains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from sipmask_core.data.coco import Target

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_SIDE = 2.0  # pixels: an object whose box is thinner than this is dropped after the warp
MIN_AREA = 12  # mask pixels, likewise


@dataclass(frozen=True)
class Augmentation:
    """How strongly training images vary; every factor is drawn uniformly from its range.

    scale: relative to the size at which the image just fits the input. keep_ratio: False stretches
    the image to the input's aspect ratio.
    flip: probability of mirroring. brightness: added, as a share of the full range; contrast and
    saturation: factors 1 +- value; hue: +- degrees.
    copy_paste: probability that the objects of a second image are pasted onto the first (Ghiasi et
    al., Simple Copy-Paste, CVPR 2021, without blending).
    """

    scale: tuple[float, float] = (0.6, 1.6)
    flip: float = 0.5
    brightness: float = 0.12
    contrast: float = 0.3
    saturation: float = 0.4
    hue: float = 9.0
    copy_paste: float = 0.3
    keep_ratio: bool = True


def random_placement(
    rng: np.random.Generator,
    image_size: tuple[int, int],
    input_size: tuple[int, int],
    augmentation: Augmentation,
) -> NDArray[np.float64]:
    """The (2, 3) matrix from image pixels to input pixels.

    Where the scaled image is larger than the input it is cropped at random; where it is smaller it
    is placed at random. Sizes are (H, W); coordinates are continuous, pixel i covering [i, i + 1].
    """
    h, w = image_size
    height, width = input_size
    fit_x, fit_y = width / w, height / h
    if augmentation.keep_ratio:
        fit_x = fit_y = min(fit_x, fit_y)
    scale = rng.uniform(*augmentation.scale)
    scale_x, scale_y = fit_x * scale, fit_y * scale
    left = (width - w * scale_x) * rng.random()  # negative: that much is cropped
    top = (height - h * scale_y) * rng.random()
    if rng.random() < augmentation.flip:
        return np.array([[-scale_x, 0, left + w * scale_x], [0, scale_y, top]])
    return np.array([[scale_x, 0, left], [0, scale_y, top]])


def warp(
    image: NDArray[np.uint8],
    target: Target,
    matrix: NDArray[np.float64],
    input_size: tuple[int, int],
    fill: tuple[int, int, int],
) -> tuple[NDArray[np.uint8], Target]:
    """Image, boxes and masks under `matrix` (see `random_placement`), on a canvas of (H, W).

    What the image does not cover gets the BGR colour `fill`. Objects of which (almost) nothing
    remains are dropped. A box follows its annotated, sub-pixel box where the whole object is
    visible and the visible part of the mask where the canvas cuts it.
    """
    height, width = input_size
    # OpenCV counts from pixel centres: p' = A (p + 1/2) + b - 1/2.
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    warped = cv2.warpAffine(
        image, centred, (width, height), flags=cv2.INTER_LINEAR, borderValue=fill
    )
    masks = np.empty((len(target["masks"]), height, width), np.uint8)
    for out, mask in zip(masks, target["masks"], strict=True):
        # 255 for 1, so that the interpolated edge can be cut at one half.
        soft = cv2.warpAffine(mask * np.uint8(255), centred, (width, height))
        np.greater_equal(soft, 128, out=out, casting="unsafe")
    corners = target["boxes"].reshape(-1, 2, 2) @ matrix[:, :2].T + matrix[:, 2]  # (n, 2, xy)
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    boxes = boxes.astype(np.float32)
    return np.asarray(warped, np.uint8), visible(
        Target(boxes=boxes, labels=target["labels"], masks=masks)
    )


def visible(target: Target) -> Target:
    """The objects that can still be seen, each box within a pixel of its mask's bounds."""
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
    keep = (sides >= MIN_SIDE) & (areas >= MIN_AREA)
    if keep.all():
        return Target(boxes=boxes, labels=target["labels"], masks=target["masks"])
    return Target(boxes=boxes[keep], labels=target["labels"][keep], masks=target["masks"][keep])


def mask_bounds(masks: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(n, 4) x0 y0 x1 y1 around the non-zero pixels of (n, H, W) masks; zeros for an empty mask."""
    bounds = np.zeros((len(masks), 4), np.int64)
    for row, mask in zip(bounds, masks, strict=True):
        x, y, w, h = cv2.boundingRect(mask)
        row[:] = x, y, x + w, y + h
    return bounds


def paste(
    image: NDArray[np.uint8],
    target: Target,
    source: NDArray[np.uint8],
    source_target: Target,
) -> tuple[NDArray[np.uint8], Target]:
    """The objects of `source` laid over `image`, both of the same size; what they hide is cut."""
    if not len(source_target["labels"]):
        return image, target
    covered = source_target["masks"].max(axis=0)  # (H, W), 0 or 1
    image = np.where(covered[..., None] > 0, source, image)
    beneath = target["masks"] & (1 - covered)
    return image, visible(
        Target(
            boxes=np.concatenate([target["boxes"], source_target["boxes"]]),
            labels=np.concatenate([target["labels"], source_target["labels"]]),
            masks=np.concatenate([beneath, source_target["masks"]]),
        )
    )


def random_colour_table(rng: np.random.Generator, augmentation: Augmentation) -> NDArray[np.uint8]:
    """(256, 3) uint8: new hue, saturation and value for each old one, for `recolour`."""
    a = augmentation
    values = np.arange(256, dtype=np.float32)
    contrast = rng.uniform(1 - a.contrast, 1 + a.contrast)
    brightness = 255 * rng.uniform(-a.brightness, a.brightness)
    saturation = rng.uniform(1 - a.saturation, 1 + a.saturation)
    hue = rng.uniform(-a.hue, a.hue) / 2  # OpenCV's 8-bit hue counts steps of two degrees
    columns = (
        np.round(values + hue) % 180,
        values * saturation,
        (values - 128) * contrast + 128 + brightness,
    )
    return np.clip(np.stack(columns, axis=1), 0, 255).astype(np.uint8)


def recolour(image: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 BGR with hue, saturation and value looked up in `table`."""
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), table[None])
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), np.uint8)
