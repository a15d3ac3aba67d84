"""Mask IoU of many masks at once, fast because it looks at a coarse grid of pixels only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sipmask_core.mask_crop import MaskCrop

GRID = 80  # most samples along the longer side of the image
FEW_SAMPLES = 16  # the IoU of a mask with fewer is not reliable


def sample_masks(
    masks: Sequence[MaskCrop],
    image_size: tuple[int, int],
    shifts: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Sample masks at P points of a grid over the image of (H, W) pixels: (N, P), each 0 or 1.

    shifts: (N, 2), how far each mask is moved first, in x and y; what leaves the image is cut off.
    """
    step = max(1, -(-max(image_size) // GRID))
    height, width = (-(-side // step) for side in image_size)
    places = np.array([(crop.x, crop.y) for crop in masks]).reshape(-1, 2)
    if shifts is not None:
        places += np.rint(shifts).astype(int)
    # The first grid point that lies both in the crop and in the image, and its place in the crop.
    firsts = np.maximum(0, -(-places // step))
    offsets = firsts * step - places
    samples = np.zeros((len(masks), height, width), np.float32)
    for sample, crop, (left, top), (x, y) in zip(
        samples, masks, firsts.tolist(), offsets.tolist(), strict=True
    ):
        part = crop.bitmap[y::step, x::step]
        place = sample[top : top + part.shape[0], left : left + part.shape[1]]
        place[:] = part[: place.shape[0], : place.shape[1]]
    return samples.reshape(len(masks), height * width)


def sampled_iou(
    a: NDArray[np.float32], b: NDArray[np.float32], otherwise: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Compute the IoU (N, M) of sampled masks (N, P) and (M, P).

    otherwise: (N, M), used instead if one of the two masks has fewer than FEW_SAMPLES.
    """
    common = a @ b.T
    ones = np.ones(a.shape[1], np.float32)
    area_a, area_b = (a @ ones)[:, None], b @ ones  # several times as fast as sums
    iou = common / np.maximum(area_a + area_b - common, 1)
    return np.where(np.minimum(area_a, area_b) < FEW_SAMPLES, otherwise, iou)
