"""Which ray of space a pixel looks along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# When the distortion is taken back in steps: the most, and pixels over focal length that suffice.
_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-9)
# Pixels: how near its pixel a ray must come out again. OpenCV gives numbers for any pixel, also
# where its steps lead astray or the distortion sends nothing there.
_NEAR = 0.5
_SAME = np.eye(3)
_ORIGIN = np.zeros(3)
# Off the axis at one metre of depth, 87 degrees: no camera image reaches further.
_WIDEST = 20.0


@dataclass(frozen=True)
class Lens:
    """A camera's intrinsics, for one size of its image.

    focal: (fx, fy) and centre: (cx, cy) in pixels; the middle of the first pixel is (0, 0).
    distortion: OpenCV's coefficients; none for a rectified image. fisheye: they are those of
    OpenCV's fisheye model (ROS: equidistant), 4 in number.
    """

    focal: tuple[float, float]
    centre: tuple[float, float]
    distortion: tuple[float, ...] = ()
    fisheye: bool = False

    def rays(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where pixels (n, 2), x and y, lie at one metre of depth: (n, 2), x right, y down.

        NaN for a pixel to which such a lens sends nothing.
        """
        if not (self.distortion or self.fisheye):
            rays = (pixels - self.centre) / self.focal
        elif len(pixels):
            rays = self._straight(np.ascontiguousarray(pixels, np.float64))
        else:
            rays = pixels.copy()
        rays[~(np.abs(rays) < _WIDEST).all(axis=1)] = np.nan
        return rays

    def _straight(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        (fx, fy), (cx, cy) = self.focal, self.centre
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        coefficients = np.array(self.distortion, np.float64)
        points: Any = pixels[:, None]
        if self.fisheye:
            straight = cv2.fisheye.undistortPoints(points, matrix, coefficients, criteria=_STEPS)
        else:
            straight = cv2.undistortPointsIter(points, matrix, coefficients, _SAME, _SAME, _STEPS)
        rays = straight[:, 0].astype(np.float64, copy=False)
        project = cv2.fisheye.projectPoints if self.fisheye else cv2.projectPoints
        space: Any = np.insert(rays, 2, 1, axis=1)[:, None]
        back, _ = project(space, _ORIGIN, _ORIGIN, matrix, coefficients)
        rays[~(np.abs(back[:, 0] - pixels) < _NEAR).all(axis=1)] = np.nan
        return rays
