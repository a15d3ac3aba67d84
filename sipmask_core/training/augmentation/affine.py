"""Augmentation of our own presets: one affine warp per image, then colours by look-up table.

Flip, scale, crop and letterbox are composed into a single matrix, so each pixel is resampled once.
That is an order of magnitude cheaper than the chain of `torchvision.transforms.v2` operators with
the same effect, which matters if the processor that loads is the processor that trains.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from sipmask_core.training.augmentation.target import Canvas, Target, chosen, visible

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sipmask_core.training.augmentation.target import Picture

CAMERA_MOVE = 0.3  # of the sides: the most between a photograph and itself as its reference


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

    def view(
        self,
        rng: np.random.Generator,
        size: tuple[int, int],
        boxes: NDArray[np.float32],
        canvas: Canvas,
    ) -> AffineView:
        """Draw a view, see `Family`; the boxes do not matter."""
        colours = random_colour_table(rng, self)
        return AffineView(self, canvas, colours, random_placement(rng, size, _size(canvas), self))


@dataclass(frozen=True)
class AffineView:
    """Colours by a table (see `recolour`), then a (2, 3) matrix (see `random_placement`)."""

    augmentation: Augmentation
    canvas: Canvas
    colours: NDArray[np.uint8]
    matrix: NDArray[np.float64]

    def __call__(
        self, image: NDArray[np.uint8], target: Target
    ) -> tuple[NDArray[np.uint8], Target]:
        """Return image and target as the network sees them."""
        return warp(recolour(image, self.colours), target, self.matrix, self.canvas)

    def elsewhere(self, rng: np.random.Generator, size: tuple[int, int]) -> AffineView:
        """Draw a view with the same colours that places an image of (H, W) = size anew."""
        matrix = random_placement(rng, size, _size(self.canvas), self.augmentation)
        return replace(self, matrix=matrix)


def _size(canvas: Canvas) -> tuple[int, int]:
    assert canvas.size is not None
    return canvas.size


def random_placement(
    rng: np.random.Generator,
    image_size: tuple[int, int],
    input_size: tuple[int, int],
    augmentation: Augmentation,
) -> NDArray[np.float64]:
    """Draw the (2, 3) matrix from image pixels to input pixels.

    If the scaled image is larger than the input, it is cropped at random; if it is smaller, it is
    placed at random. Sizes are (H, W); coordinates are continuous, pixel i covering [i, i + 1].
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
    canvas: Canvas,
) -> tuple[NDArray[np.uint8], Target]:
    """Warp image, boxes and masks by `matrix` (see `random_placement`) onto the canvas.

    Objects of which (almost) nothing remains are dropped. A box follows its annotated, sub-pixel
    box if the whole object is visible, and the visible part of the mask if the canvas cuts it.
    """
    height, width = _size(canvas)
    # OpenCV counts from pixel centres: p' = A (p + 1/2) + b - 1/2.
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    warped = cv2.warpAffine(
        image, centred, (width, height), flags=cv2.INTER_LINEAR, borderValue=canvas.fill
    )
    planes = [*target["masks"], target["ignore"]]
    warped_planes = np.zeros((len(planes), height, width), np.uint8)
    for out, plane in zip(warped_planes, planes, strict=True):
        # 255 for 1, so that the interpolated edge can be cut at one half.
        soft = cv2.warpAffine(plane * np.uint8(255), centred, (width, height))
        np.greater_equal(soft, 128, out=out, casting="unsafe")
    corners = target["boxes"].reshape(-1, 2, 2) @ matrix[:, :2].T + matrix[:, 2]  # (n, 2, xy)
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    moved: Target = {
        **target,
        "boxes": boxes.astype(np.float32),
        "masks": warped_planes[:-1],
        "ignore": warped_planes[-1],
    }
    return np.asarray(warped, np.uint8), visible(moved)


def seen_again(
    rng: np.random.Generator, image: NDArray[np.uint8], target: Target, canvas: Canvas
) -> Picture:
    """Draw the picture as the same camera would see it after a move, at the same size.

    It comes nearer or farther, and is shifted, by up to CAMERA_MOVE of its sides.
    """
    height, width = image.shape[:2]
    zoom = 1 + rng.uniform(-CAMERA_MOVE, CAMERA_MOVE)
    x, y = rng.uniform(-CAMERA_MOVE, CAMERA_MOVE, 2)
    # About the middle of the picture.
    shift = [(0.5 + x - zoom / 2) * width, (0.5 + y - zoom / 2) * height]
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    return warp(image, target, matrix, replace(canvas, size=(height, width)))


def paste(
    image: NDArray[np.uint8],
    target: Target,
    source: NDArray[np.uint8],
    source_target: Target,
) -> tuple[NDArray[np.uint8], Target]:
    """Lay the objects of `source` over `image`, both of the same size; what they hide is cut.

    Objects of `source` without a mask are left out.
    """
    source_target = chosen(source_target, source_target["has_mask"])
    if not len(source_target["labels"]):
        return image, target
    covered = source_target["masks"].max(axis=0)  # (H, W), 0 or 1
    image = np.where(covered[..., None] > 0, source, image)
    beneath = target["masks"] & (1 - covered)
    return image, visible(
        Target(
            boxes=np.concatenate([target["boxes"], source_target["boxes"]]),
            labels=np.concatenate([target["labels"], source_target["labels"]]),
            ids=np.concatenate([target["ids"], source_target["ids"]]),
            masks=np.concatenate([beneath, source_target["masks"]]),
            has_mask=np.concatenate([target["has_mask"], source_target["has_mask"]]),
            uncertain=np.concatenate([target["uncertain"], source_target["uncertain"]]),
            ignore=target["ignore"] & (1 - covered),
        )
    )


def random_colour_table(rng: np.random.Generator, augmentation: Augmentation) -> NDArray[np.uint8]:
    """Draw new hue, saturation and value for each old one, (256, 3) uint8, for `recolour`."""
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
    """Replace hue, saturation and value of (H, W, 3) uint8 BGR by what `table` has for them."""
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), table[None])
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), np.uint8)
