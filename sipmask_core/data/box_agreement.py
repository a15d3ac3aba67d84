"""Whether a file's boxes and masks agree and are in pixels: some tools have other conventions."""

from __future__ import annotations

Box = tuple[float, float, float, float]  # x, y, width, height

# Boxes that are drawn loosely around their masks still overlap more.
_LEAST_IOU = 0.5
# By so much more must a box overlap its mask's if it is read as two corners.
_CLEARLY = 0.05
_WORTH_TELLING = 0.01  # share of the objects


class BoxAgreement:
    """Counts, while a file is read, objects whose box disagrees with their mask."""

    def __init__(self) -> None:
        self._objects = self._compared = 0
        self._disagreeing = self._corners = self._shares = 0

    def add(self, bbox: Box, extent: Box | None) -> None:
        """Take in an object's box as the file gives it, and that of its mask, if it has one."""
        self._objects += 1
        x, y, w, h = bbox if extent is None else extent
        self._shares += min(x, y) >= 0 and max(x + w, y + h) <= 1
        if extent is None:
            return
        self._compared += 1
        iou = _iou(bbox, extent)
        corners = (bbox[0], bbox[1], bbox[2] - bbox[0], bbox[3] - bbox[1])
        fits_as_corners = _iou(corners, extent) > iou + _CLEARLY
        self._disagreeing += iou < _LEAST_IOU or fits_as_corners
        self._corners += fits_as_corners

    @property
    def are_corners(self) -> bool:
        """Whether most boxes fit their masks clearly better as x0, y0, x1, y1."""
        return self._corners * 2 > self._compared

    @property
    def warning(self) -> str | None:
        """What is wrong with more than a few objects, with their number; None if nothing is."""
        if self._shares > _WORTH_TELLING * self._objects:
            return (
                f"The masks, or boxes, of {self._shares} of {self._objects} objects lie within 0 to"
                " 1: as shares of the image? Pixels are expected"
            )
        if self._disagreeing > _WORTH_TELLING * self._compared:
            reason = ""
            if self._corners * 2 > self._disagreeing:
                reason = "; as x0, y0, x1, y1 they would fit, x, y, width, height are expected"
            return (
                f"{self._disagreeing} of {self._compared} boxes disagree with their masks{reason}"
            )
        return None


def _iou(a: Box, b: Box) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)
