"""Masks as polygons that a person can edit, in the form of COCO's segmentations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from sipmask_core.data.shapes import merged_rle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sipmask_core.data.shapes import Polygons
    from sipmask_core.mask_crop import MaskCrop

# In pixels, coarse to exact; fewer corners are easier to correct.
TOLERANCES = (1.0, 0.5, 0.0)
# Above 0.95, the strictest threshold of COCO's AP: uncorrected polygons match their masks there.
_FAITHFUL_IOU = 0.97


def mask_polygons(mask: MaskCrop) -> Polygons:
    """Trace the outlines of a mask's parts, (x0, y0, x1, y1, ...) in pixels of the image.

    They are as coarse as an IoU of 0.97 with the mask allows; [] for an empty mask. COCO's polygons
    are united, so none can be a hole: a hole's outline is joined to the one around it by a slit
    without width.
    """
    bitmap = mask.bitmap.astype(np.uint8)
    if not bitmap.any():
        return []
    # At twice the size, outlines run a quarter of a pixel around the centres of the pixels.
    doubled = np.pad(bitmap.repeat(2, 0).repeat(2, 1), 1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    truth = coco_mask.encode(np.asfortranarray(bitmap))
    for tolerance in TOLERANCES:
        outlines = _outlines(contours, hierarchy[0], tolerance)
        polygons = [outline.ravel().tolist() for outline in outlines]
        if polygons:
            drawn = merged_rle(polygons, bitmap.shape)
            if coco_mask.iou([drawn], [truth], [0])[0, 0] >= _FAITHFUL_IOU:
                break
    origin = np.array([mask.x, mask.y])
    return [(outline + origin).ravel().tolist() for outline in outlines]


def _outlines(contours: Any, hierarchy: Any, tolerance: float) -> list[NDArray[np.float64]]:
    """Return (corners, 2) x, y of each part, within `tolerance` pixels of the traced contour."""
    corners = [cv2.approxPolyDP(c, 2 * tolerance, True)[:, 0] for c in contours]
    outlines = []
    for index, (_, _, hole, parent) in enumerate(hierarchy):
        if parent >= 0 or len(corners[index]) < 3:
            continue
        outline = corners[index]
        while hole >= 0:
            if len(corners[hole]) >= 3:
                outline = _joined(outline, corners[hole])
            hole = hierarchy[hole][0]  # the next one of this part
        outlines.append((outline - 0.5) / 2)  # less the padding of 1, to the pixels' centres
    return outlines


def _joined(outline: NDArray[Any], hole: NDArray[Any]) -> NDArray[Any]:
    """Join a part's outline and its hole's to one closed line, at their two nearest corners."""
    distances = np.square(outline[:, None] - hole).sum(2)
    i, j = np.unravel_index(distances.argmin(), distances.shape)
    return np.concatenate([outline[: i + 1], hole[j:], hole[: j + 1], outline[i:]])
