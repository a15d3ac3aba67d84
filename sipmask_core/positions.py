"""Where objects are in space: from their masks and a depth image to points.

The depth of an object is the median depth of its nearest layer, its direction the ray through the
middle of its mask. A mask reaches over the object's edges and through its gaps, so that depths of
what is behind are among its own: depths are sorted, and a wide gap between them ends a layer.
The nearest layer that makes up a good part of the mask is the object. The middle of the mask is
taken without pixels that belong to another layer. Pixels that have no depth are kept: cameras lose
depths at one side of an object, and the middle would move to the other. If a shape with a centre of
symmetry lies on a plane, however slanted, its point is on the plane, that of another near it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sipmask_core.instances import Instances
    from sipmask_core.mask_crop import MaskCrop

# Metres: no depth camera sees this far.
FARTHEST = 1000.0
# A mask is sampled at GRID * GRID places at most, which bounds the cost: in GRID rows and
# columns or, if one side has fewer pixels, in more of the other.
GRID = 32
# Where in its pixel each place is, down and across, if every pixel of a mask is one.
_WITHIN = np.random.default_rng(7).random((2, GRID * GRID))
# Sorted depths belong to one layer if the next NEIGHBOURS of all follow within GAP of the depth.
NEIGHBOURS = 1 / 16
GAP = 0.15
# The part of a mask's depths that makes a layer the object, even if one behind it is larger.
SHARE = 0.3
# Fewer depths, or depths of a smaller part of the mask, give no position.
MIN_PIXELS = 8
MIN_COVERAGE = 0.03
# Standard deviation over interquartile range, for a normal distribution.
_NORMAL = 0.7413
# Percentiles of an object's depths between which its box lies.
_NEAREST, _FARTHEST = 5, 95
_SQUARE = np.ones((3, 3), np.uint8)

# The distortion is removed in steps: at most this many, until this precise in focal lengths.
_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-9)
# Pixels: how near its pixel a ray must come out if it is projected again. OpenCV gives numbers
# for any pixel, even if its steps diverge or the distortion maps nothing there.
_NEAR = 0.5
_SAME = np.eye(3)
_ORIGIN = np.zeros(3)
# Metres off the axis at one metre of depth, 87 degrees: no camera image reaches further.
_WIDEST = 20.0


@dataclass(frozen=True)
class Positions:
    """Where N objects are, in metres: x right, y down, z forward. NaN if it is not known.

    points: (N, 3) float64. deviations: (N,) float64, the robust standard deviation of the depths.
    sizes: (N, 2) float64, width and height of the mask at that depth. pixels: (N,) int64, the
    number of depths from which a point comes. coverage: (N,) float64, the share of the mask that
    has a depth. boxes: (N, 2, 3) float64, the left upper near and the right lower far corner of the
    part that is seen: as wide and high as `sizes`, as deep as nine tenths of the depths.
    """

    points: NDArray[np.float64]
    deviations: NDArray[np.float64]
    sizes: NDArray[np.float64]
    pixels: NDArray[np.int64]
    coverage: NDArray[np.float64]
    boxes: NDArray[np.float64]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Whether each position is known: (N,) bool."""
        return np.isfinite(self.points[:, 2])

    @classmethod
    def unknown(cls, count: int) -> Positions:
        """Return positions of `count` objects, none of them known."""
        return cls(
            points=np.full((count, 3), np.nan),
            deviations=np.full(count, np.nan),
            sizes=np.full((count, 2), np.nan),
            pixels=np.zeros(count, np.int64),
            coverage=np.zeros(count),
            boxes=np.full((count, 2, 3), np.nan),
        )


def depth_limit(depth: NDArray[Any], unit: float) -> float:
    """Return the value from which on those of a depth image mean no depth; 0 and below do, too."""
    limit = FARTHEST / unit
    return min(limit, np.iinfo(depth.dtype).max) if depth.dtype.kind == "u" else limit


def locate(instances: Instances, depth: NDArray[Any], unit: float, lens: Lens) -> Positions:
    """Find where the objects of the instances are.

    depth: (H, W) uint16 or float32, in `unit` metres. It shows what the masks' image shows, in a
    size of its own. Values that mean no depth: 0 and below, NaN, `FARTHEST` and above, and the
    largest uint16. lens: for the size of the masks' image.
    """
    limit = depth_limit(depth, unit)
    down, across = (
        there / size for size, there in zip(instances.image_size, depth.shape, strict=True)
    )
    surfaces = []
    for crop in instances.mask_crops:
        y, x = places(crop)
        rows, columns = y.astype(np.intp), x.astype(np.intp)
        if down == across == 1:
            values = depth[rows, columns]
        else:
            values = depth[(y * down).astype(np.intp), (x * across).astype(np.intp)]
        surfaces.append(_surface(columns, rows, values, limit))
    middles = np.array([(s.x, s.y) for s in surfaces]).reshape(-1, 1, 2)
    edges = np.array([_edges(crop) for crop in instances.mask_crops]).reshape(-1, 4)
    # The middle of each and, straight from there, its left, right, upper and lower edge.
    pixels = np.repeat(middles, 5, axis=1)  # (N, 5, 2)
    pixels[:, 1:3, 0], pixels[:, 3:5, 1] = edges[:, :2], edges[:, 2:]
    rays = lens.rays(pixels.reshape(-1, 2)).reshape(pixels.shape)
    known = np.isfinite(rays).all(axis=(1, 2))
    depths = np.where(known, [unit * s.depth for s in surfaces], np.nan)
    boxes = np.empty((len(surfaces), 2, 3))
    boxes[:, 0, 0], boxes[:, 0, 1] = depths * rays[:, 1, 0], depths * rays[:, 3, 1]
    boxes[:, 1, 0], boxes[:, 1, 1] = depths * rays[:, 2, 0], depths * rays[:, 4, 1]
    boxes[:, :, 2] = unit * np.array([(s.near, s.far) for s in surfaces]).reshape(-1, 2)
    boxes[np.isnan(depths)] = np.nan
    return Positions(
        points=depths[:, None] * np.insert(rays[:, 0], 2, 1, axis=1),
        deviations=np.where(known, [unit * s.deviation for s in surfaces], np.nan),
        sizes=boxes[:, 1, :2] - boxes[:, 0, :2],
        pixels=np.where(known, [s.pixels for s in surfaces], 0).astype(np.int64),
        coverage=np.array([s.coverage for s in surfaces], np.float64),
        boxes=boxes,
    )


class _Surface(NamedTuple):
    """What a mask shows of an object: its middle in the image, the rest as in `Positions`.

    Depth, deviation, and from where to where its box reaches have the unit of the depth image.
    """

    coverage: float
    x: float = np.nan
    y: float = np.nan
    depth: float = np.nan
    deviation: float = np.nan
    near: float = np.nan
    far: float = np.nan
    pixels: int = 0


def _surface(
    x: NDArray[np.intp], y: NDArray[np.intp], values: NDArray[Any], limit: float
) -> _Surface:
    """Find the surface that n pixels show, from their depths; those in (0, limit) count."""
    known = (values > 0) & (values < limit)
    depths = np.sort(values[known])
    coverage = len(depths) / max(1, len(values))
    if len(depths) < MIN_PIXELS or coverage < MIN_COVERAGE:
        return _Surface(coverage)
    layer = depths[nearest_layer(depths)]
    if len(layer) < MIN_PIXELS:
        return _Surface(coverage)
    own = ~known | ((values >= layer[0]) & (values <= layer[-1]))
    low, middle, high = (float(layer[len(layer) * quarter // 4]) for quarter in (1, 2, 3))
    return _Surface(
        coverage,
        float(x[own].mean()),
        float(y[own].mean()),
        middle,
        _NORMAL * (high - low),
        float(layer[len(layer) * _NEAREST // 100]),
        float(layer[len(layer) * _FARTHEST // 100]),
        len(layer),
    )


def _edges(crop: MaskCrop) -> tuple[float, float, float, float]:
    """Return left, right, upper and lower edge; the middle of the image's first pixel is (0, 0)."""
    height, width = crop.bitmap.shape
    return crop.x - 0.5, crop.x + width - 0.5, crop.y - 0.5, crop.y + height - 0.5


def places(crop: MaskCrop) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return y and x of evenly spread places on a mask, without a thick mask's edge.

    The first pixel reaches from 0 to 1.
    """
    height, width = crop.bitmap.shape
    if crop.bitmap.size == 0:
        return np.zeros(0), np.zeros(0)
    rows = min(height, max(GRID, GRID * GRID // width))
    columns = min(width, max(GRID, GRID * GRID // height))
    if (rows, columns) == (height, width):
        y, x = _WITHIN[:, : rows * columns].reshape(2, rows, columns)
        y, x = y + np.arange(rows)[:, None], x + np.arange(columns)
    else:
        y, x = _grid(rows, columns)
        y, x = y * height, x * width
    inside = crop.bitmap[y.astype(np.intp), x.astype(np.intp)].view(np.uint8)
    core = cv2.erode(inside, _SQUARE, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    chosen = np.flatnonzero(core if cv2.countNonZero(core) >= MIN_PIXELS else inside)
    return crop.y + y.reshape(-1)[chosen], crop.x + x.reshape(-1)[chosen]


@lru_cache(maxsize=2 * GRID)  # there are no more that are smaller than a mask
def _grid(rows: int, columns: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return y and x, from 0 to 1, of one place in each cell of a grid: (rows, columns).

    Where in its cell it is differs from cell to cell: those beside each other have all heights, in
    any order, those above each other all sides. Depths often lie in a grid of their own, with gaps
    between them, of which places at even steps would meet only the ones or the others.
    """
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    heights, sides = rng.random((2, rows, columns))
    heights = (rng.permuted(x, axis=1) + heights) / columns
    sides = (rng.permuted(y, axis=0) + sides) / rows
    return (y + heights) / rows, (x + sides) / columns


def nearest_layer(depths: NDArray[Any]) -> slice:
    """Return which of the sorted depths (n,) > 0 belong to the nearest layer with `SHARE` of all.

    If no layer has that much, it is the largest layer; if there is no layer, all depths.
    """
    n = len(depths)
    step = max(1, int(n * NEIGHBOURS))
    near = np.zeros(n - step + 2, bool)
    np.less_equal(depths[step:], depths[:-step] * np.float32(1 + GAP), out=near[1:-1])
    edges = np.flatnonzero(near[1:] != near[:-1]).tolist()
    layers: list[tuple[int, int]] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if layers and start < layers[-1][1]:  # they share depths
            start, _ = layers.pop()
        layers.append((start, end + step))
    for start, end in layers:
        if end - start >= SHARE * n:
            return slice(start, end)
    return slice(*max(layers, key=lambda layer: layer[1] - layer[0], default=(0, n)))


@dataclass(frozen=True)
class Lens:
    """A camera's intrinsics, for one size of its image.

    focal: (fx, fy) and centre: (cx, cy) in pixels; the middle of the first pixel is (0, 0).
    distortion: OpenCV's coefficients; empty for a rectified image. fisheye: whether they are the
    four of OpenCV's fisheye model (ROS: equidistant).
    """

    focal: tuple[float, float]
    centre: tuple[float, float]
    distortion: tuple[float, ...] = ()
    fisheye: bool = False

    def rays(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where pixels (n, 2), x and y, lie at one metre of depth: (n, 2), x right, y down.

        NaN for a pixel to which such a lens maps nothing.
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
