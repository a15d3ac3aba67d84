"""Which instances are reported: by their class, by their score, and by where they are."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from sipmask_core.instances import Instances

# Corners (x, y) in shares of an image's width and height.
Polygon: TypeAlias = tuple[tuple[float, float], ...]

_AROUND_COMMA = re.compile(r"\s*,\s*")


def read_class_thresholds(texts: Iterable[str]) -> dict[str, float]:
    """Return the lowest scores by class name of texts such as "person:0.5".

    Raises InputError for a text of another form, a number that is not from 0 to 1, and a class that
    is named twice.
    """
    thresholds: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition(":")
        name = name.strip()
        score = _number(number)
        if not name or not 0 <= score <= 1:
            raise InputError(
                f"class_thresholds has {text!r}; accepted are a class and its lowest score, from 0"
                " to 1, such as 'person:0.5'."
            )
        if name in thresholds:
            raise InputError(f"class_thresholds names {name!r} twice; give each class one score.")
        thresholds[name] = score
    return thresholds


def read_zone(text: str) -> tuple[str, Polygon]:
    """Return camera and polygon of a text such as "front: 0,0 1,0 1,0.3 0,0.3".

    The camera is empty if the text has no colon. Raises InputError for a text of another form.
    """
    camera, colon, corners = text.rpartition(":")
    camera = camera.strip()
    pairs = [corner.split(",") for corner in _AROUND_COMMA.sub(",", corners).split()]
    polygon = tuple(tuple(map(_number, pair)) for pair in pairs)
    if (
        bool(colon) != bool(camera)
        or len(polygon) < 3
        or not all(len(corner) == 2 and all(0 <= v <= 1 for v in corner) for corner in polygon)
    ):
        raise InputError(
            f"ignore_zones has {text!r}; accepted are a camera's topic and three or more corners"
            " x,y in shares of the image, from 0 to 1, such as 'image: 0,0 1,0 1,0.3 0,0.3', or the"
            " corners alone for every camera."
        )
    return camera, tuple((x, y) for x, y in polygon)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan  # within no range


def lowest_scores(
    class_names: Sequence[str],
    classes: Sequence[str],
    score_threshold: float,
    class_thresholds: Mapping[str, float],
) -> NDArray[np.float32]:
    """Return the score that an instance of each class must have, (classes,).

    classes: names of those to report; empty for all. For others no score suffices.
    """
    return np.array(
        [
            class_thresholds.get(name, score_threshold)
            if not classes or name in classes
            else math.inf
            for name in class_names
        ],
        np.float32,
    )


class IgnoredZones:
    """Parts of a camera's image whose instances do not count.

    polygons: the parts; what lies in an odd number of turns of a polygon's line lies in it.
    """

    def __init__(self, polygons: Sequence[Polygon]) -> None:
        self._polygons = polygons
        # As drawn for images of the last size: (H, W) bool.
        self._drawn: NDArray[np.bool_] = np.zeros((0, 0), bool)

    def without(self, instances: Instances) -> Instances:
        """Return the instances less those that lie in the zones for more than half of their mask.

        An instance without any mask stays.
        """
        if self._drawn.shape != instances.image_size:
            self._drawn = drawn(self._polygons, instances.image_size)
        outside = np.array([self._is_outside(*crop) for crop in instances.mask_crops], bool)
        return instances if outside.all() else instances[outside]

    def _is_outside(self, x: int, y: int, bitmap: NDArray[np.bool_]) -> bool:
        height, width = bitmap.shape
        zones = self._drawn[y : y + height, x : x + width]
        return 2 * np.count_nonzero(bitmap & zones) <= np.count_nonzero(bitmap)


def drawn(polygons: Iterable[Polygon], image_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return (H, W) bool: the pixels whose centres lie in one of the polygons."""
    height, width = image_size
    canvas = np.zeros(image_size, bool)
    middles = np.arange(height) + 0.5
    for polygon in polygons:
        corners = np.array(polygon) * (width, height)
        # Along a row, each edge that it meets begins or ends a stretch within the polygon.
        crossings = np.zeros((height, width + 1), bool)
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            rows = np.flatnonzero((middles > y0) != (middles > y1))
            meets = x0 + (middles[rows] - y0) * ((x1 - x0) / ((y1 - y0) or 1.0))
            crossings[rows, np.ceil(meets - 0.5).astype(int).clip(0, width)] ^= True
        canvas |= np.logical_xor.accumulate(crossings, axis=1)[:, :width]
    return canvas
