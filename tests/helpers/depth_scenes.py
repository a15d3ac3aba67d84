"""Made-up scenes whose every depth is known, and what a depth camera and a network make of them."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from sipmask_core.inference.masks_cpu import trim
from sipmask_core.instances import Instances
from sipmask_core.positions import Lens

SIZE = HEIGHT, WIDTH = 480, 640
LENS = Lens(focal=(525.0, 520.0), centre=(322.0, 236.0))


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid with axes along those of the camera; metres."""

    centre: tuple
    radii: tuple

    def depth(self, rays):
        """Return where rays (H, W, 3) with z = 1 meet it: depth (H, W), inf beside it."""
        centre, scale = np.array(self.centre), 1 / np.array(self.radii)
        a = ((rays * scale) ** 2).sum(-1)
        b = ((rays * scale) * (centre * scale)).sum(-1)
        c = ((centre * scale) ** 2).sum() - 1
        root = b**2 - a * c
        return np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, np.inf)


@dataclass(frozen=True)
class Patch:
    """A parallelogram: its centre, and from there to the middles of two neighbouring edges."""

    centre: tuple
    right: tuple
    down: tuple

    def depth(self, rays):
        """Return the same as for an ellipsoid."""
        centre, right, down = (np.array(v, float) for v in (self.centre, self.right, self.down))
        normal = np.cross(right, down)
        along = rays @ normal
        z = (centre @ normal) / np.where(along == 0, 1e-12, along)
        points = rays * z[..., None] - centre
        to_edges = np.linalg.pinv(np.stack([right, down], 1))
        inside = (np.abs(points @ to_edges.T) <= 1).all(-1)
        return np.where(inside & (z > 0), z, np.inf)


def sphere(x, y, z, radius):
    return Ellipsoid((x, y, z), (radius,) * 3)


def facing(x, y, z, width, height):
    """Return a rectangle that faces the camera."""
    return Patch((x, y, z), (width / 2, 0, 0), (0, height / 2, 0))


def person(x, z):
    """Return the shapes of somebody who stands there, 1.7 m high."""
    return [
        sphere(x, -0.62, z, 0.12),
        Ellipsoid((x, -0.2, z), (0.22, 0.33, 0.14)),
        Ellipsoid((x - 0.27, -0.2, z), (0.06, 0.32, 0.06)),
        Ellipsoid((x + 0.27, -0.2, z), (0.06, 0.32, 0.06)),
        Ellipsoid((x - 0.1, 0.55, z), (0.09, 0.47, 0.09)),
        Ellipsoid((x + 0.1, 0.55, z), (0.09, 0.47, 0.09)),
    ]


def railing(x, y, z, width, height, bars):
    """Return upright bars between two beams; a bar is half as wide as the gap between two."""
    pitch = width / (bars - 2 / 3)
    middles = x + (np.arange(bars) - (bars - 1) / 2) * pitch
    beams = [facing(x, y + side * height / 2, z, width, 0.05) for side in (-1, 1)]
    return beams + [facing(middle, y, z, pitch / 3, height) for middle in middles]


WALL = facing(0, 0, 6, 40, 40)


@dataclass(frozen=True, eq=False)
class Scene:
    """Objects, each of some shapes, before a background, and what is wrong with the pictures.

    too_large: pixels by which masks reach over the edge. filled: masks cover an object's gaps.
    noise: standard deviation of the depth in metres at one metre; it grows with the square. mixed:
    width in pixels of the edges at which depths of front and back mix. shadow: pixels without depth
    at the left of each object. holes: share of the picture without depth.
    """

    name: str
    objects: dict
    background: tuple = (WALL,)
    too_large: int = 0
    filled: bool = False
    noise: float = 0.002
    mixed: int = 0
    shadow: int = 0
    holes: float = 0.0


SCENES = [
    Scene(
        "spheres",
        {
            "near": [sphere(-0.25, 0.1, 0.8, 0.12)],
            "middle": [sphere(0.4, -0.2, 2, 0.25)],
            "far": [sphere(1.2, 0.9, 4, 0.35)],
        },
        mixed=3,
        holes=0.05,
    ),
    Scene(
        "slanted planes",
        {
            "board": [Patch((-0.6, -0.2, 2), (0.35, 0, 0.35), (0, 0.5, 0))],
            "door": [Patch((0.75, -0.1, 2.6), (0.2, 0, -0.5), (0, 0.9, 0))],
            "table": [Patch((-0.1, 0.55, 2.2), (0.5, 0, 0), (0, -0.1, 1.2))],
        },
        too_large=2,
        mixed=3,
    ),
    Scene(
        "people before a wall",
        {"near": person(-0.5, 2.5), "at the wall": person(0.6, 3.0)},
        (facing(0, 0, 3.4, 40, 40),),
        too_large=5,
        mixed=5,
    ),
    Scene(
        "see-through",
        {
            "railing": railing(-0.5, 0.2, 2, 1, 0.7, 9),
            "chair": [
                facing(0.6, -0.3, 1.8, 0.45, 0.12),
                facing(0.6, 0.0, 1.8, 0.45, 0.12),
                facing(0.42, 0.15, 1.8, 0.07, 0.9),
                facing(0.78, 0.15, 1.8, 0.07, 0.9),
            ],
        },
        (facing(0, 0, 4, 40, 40),),
        filled=True,
        too_large=2,
        mixed=3,
    ),
    Scene(
        "occlusion",
        {
            "post": [facing(-0.1, 0, 1.2, 0.08, 2)],
            "box behind the post": [facing(-0.1, 0.1, 2.2, 0.7, 0.6)],
            "ball behind the box": [sphere(0.45, 0.05, 3, 0.35)],
        },
        too_large=4,
        mixed=3,
    ),
    Scene(
        "missing depth",
        {"near": person(-0.4, 2.2), "far": person(0.9, 3.6)},
        too_large=3,
        mixed=3,
        shadow=25,
        holes=0.4,
    ),
]


@dataclass(frozen=True)
class View:
    """A scene as it is seen.

    true_depth, depth: (H, W) metres and uint16 millimetres. true_masks: (N, H, W), what is visible
    of each object. points: (N, 3), on the ray through the middle of the visible part, at its median
    depth.
    """

    true_depth: np.ndarray
    depth: np.ndarray
    true_masks: np.ndarray
    instances: Instances
    points: np.ndarray


@lru_cache(2 * len(SCENES))
def view(scene, seed=0):
    """Look at a scene. The result is cached: leave it as it is."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    rays = np.ones((HEIGHT, WIDTH, 3))
    rays[..., :2] = LENS.rays(np.stack([x, y], -1).reshape(-1, 2)).reshape(HEIGHT, WIDTH, 2)
    layers = [scene.background, *scene.objects.values()]
    depths = np.stack([np.min([s.depth(rays) for s in shapes], axis=0) for shapes in layers])
    true_depth, owner = depths.min(0), depths.argmin(0)
    true_masks = np.stack([owner == i for i in range(1, len(layers))])
    points = []
    for mask in true_masks:
        depth = np.median(true_depth[mask])
        points.append([*(rays[mask].mean(0)[:2] * depth), depth])
    return View(
        true_depth,
        seen_depth(true_depth, true_masks, scene, rng),
        true_masks,
        to_instances(seen_masks(true_masks, scene)),
        np.array(points),
    )


def seen_masks(true_masks, scene):
    """Return what a network gives: masks that reach too far."""
    masks = true_masks.astype(np.uint8)
    if scene.filled:
        for mask in masks:
            hull = cv2.convexHull(cv2.findNonZero(mask))
            cv2.fillConvexPoly(mask, hull, 1)
    size = 2 * scene.too_large + 1
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.stack([cv2.dilate(mask, ellipse) for mask in masks]).astype(bool)


def seen_depth(true_depth, true_masks, scene, rng):
    """Return what a depth camera gives, in whole millimetres; 0 is unknown."""
    depth = cv2.blur(true_depth, (scene.mixed,) * 2) if scene.mixed else true_depth.copy()
    depth += rng.normal(0, scene.noise, depth.shape) * depth**2
    if scene.holes:
        blobs = cv2.GaussianBlur(rng.normal(size=depth.shape), (0, 0), 8)
        depth[blobs < np.quantile(blobs, scene.holes)] = 0
    for mask in true_masks if scene.shadow else ():
        moved = np.roll(mask, scene.shadow, axis=1)
        depth[mask & ~moved] = 0
    return np.rint(1000 * depth).astype(np.uint16)


def to_instances(masks):
    """Return instances with these masks (N, H, W), all of class 0, by falling score."""
    n = len(masks)
    crops = [trim(0, 0, mask) for mask in masks]
    boxes = [[c.x, c.y, c.x + c.bitmap.shape[1], c.y + c.bitmap.shape[0]] for c in crops]
    return Instances(
        boxes=np.array(boxes, np.float32).reshape(n, 4),
        scores=np.linspace(0.9, 0.5, n, dtype=np.float32),
        labels=np.zeros(n, np.int64),
        mask_crops=crops,
        image_size=masks.shape[1:],
        track_ids=np.arange(1, n + 1),
    )
