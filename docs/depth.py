"""How well positions hold on the scenes of tests/helpers/depth_scenes.py: a table and a picture.

Beside `locate` stand the depths that simpler ways give: the median and the mode of what lies under
the mask, and the median under the eroded mask.

  PYTHONPATH=tests/helpers python docs/depth.py --plot docs/depth.png
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from depth_scenes import LENS, SCENES, SIZE, view

from sipmask_core.positions import locate

if TYPE_CHECKING:
    from collections.abc import Callable

    from depth_scenes import Scene, View
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from sipmask_core.positions import Positions

METRES = 1e-3  # of the scenes' depth images
ERODED = 3  # pixels
BIN = 0.03  # of the mode's histogram, in logarithms of the depth
BACKGROUND = (0.75, 0.75, 0.75)


def main() -> None:
    """Print the table, draw the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plot", type=Path, help="PNG to draw the scenes into")
    parser.add_argument("--seeds", type=int, default=5, help="pictures of each scene")
    args = parser.parse_args()
    print("| scene | object | distance, m | error, cm | in depth | median | eroded | mode |")
    print("|---|---|---|---|---|---|---|---|")
    worst = 0.0
    for scene in SCENES:
        views = [view(scene, seed) for seed in range(args.seeds)]
        found = [_locate(seen) for seen in views]
        for index, name in enumerate(scene.objects):
            true = views[0].points[index]
            points = np.array([positions.points[index] for positions in found])
            errors = np.linalg.norm(points - true, axis=1)
            worst = max(worst, float((errors / true[2]).max()))
            columns = [errors.max(), _largest(points[:, 2] - true[2])]
            for way in (_median, _eroded, _mode):
                simple = [way(seen.depth, seen.instances.masks[index]) for seen in views]
                columns.append(_largest(np.array(simple) - true[2]))
            cells = " | ".join(f"{100 * value:.1f}" for value in columns)
            print(f"| {scene.name} | {name} | {true[2]:.2f} | {cells} |")
    print(f"Largest error: {100 * worst:.2f} % of the distance.")
    seen = view(SCENES[2])
    for count in (0, 1, 20):
        instances = seen.instances[[0, 1] * 10][:count]
        seconds = _shortest(partial(locate, instances, seen.depth, METRES, LENS), 1000)
        print(f"{count} instances: {1e3 * seconds:.3f} ms at best.")
    if args.plot is not None:
        _draw(args.plot)


def _locate(seen: View) -> Positions:
    return locate(seen.instances, seen.depth, METRES, LENS)


def _largest(errors: NDArray[np.float64]) -> float:
    return float(errors[np.abs(errors).argmax()])


def _median(depth: NDArray[np.uint16], mask: NDArray[np.bool_]) -> float:
    values = depth[mask]
    return float(np.median(values[values > 0]) * METRES)


def _eroded(depth: NDArray[np.uint16], mask: NDArray[np.bool_]) -> float:
    square = np.ones((2 * ERODED + 1,) * 2, np.uint8)
    return _median(depth, cv2.erode(mask.astype(np.uint8), square).astype(bool))


def _mode(depth: NDArray[np.uint16], mask: NDArray[np.bool_]) -> float:
    values = depth[mask]
    logarithms = np.log(values[values > 0] * METRES)
    counts, edges = np.histogram(logarithms, np.arange(-2, 3, BIN))
    return float(np.exp(edges[counts.argmax()] + BIN / 2))


def _shortest(function: Callable[[], Any], rounds: int) -> float:
    """Return the seconds of the fastest round: other programs disturb the others."""
    times = []
    for _ in range(rounds):
        began = perf_counter()
        function()
        times.append(perf_counter() - began)
    return min(times)


def _draw(path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 6.4), layout="constrained")
    axes = figure.subplots(3, len(SCENES), height_ratios=(1, 1, 1.1))
    for column, scene in enumerate(SCENES):
        seen = view(scene)
        colours = [f"C{index}" for index in range(len(scene.objects))]
        _draw_masks(axes[0, column], scene, seen, colours)
        picture = _draw_depth(axes[1, column], seen)
        _draw_from_above(axes[2, column], scene, seen, colours)
    figure.colorbar(picture, ax=axes[1].tolist(), label="depth, m; white: none")
    axes[0, 0].set_ylabel("masks")
    axes[1, 0].set_ylabel("depth image")
    axes[2, 0].set_ylabel("from above: z, m")
    figure.savefig(path, dpi=80)


def _draw_masks(axes: Axes, scene: Scene, seen: View, colours: list[str]) -> None:
    from matplotlib.colors import to_rgb

    light = _light(seen.true_depth)[..., None]
    picture = light * np.array(BACKGROUND)
    for mask, colour in zip(seen.true_masks, colours, strict=True):
        picture[mask] = light[mask] * np.array(to_rgb(colour))
    axes.imshow(picture)
    for mask in seen.instances.masks:
        axes.contour(mask, [0.5], colors="black", linewidths=0.8)
    axes.set_title(scene.name)
    axes.set(xticks=[], yticks=[])


def _light(depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how bright a lamp at the camera makes the surfaces: (H, W), in [0, 1]."""
    points = depth[..., None] * _rays()
    normals = np.cross(*np.gradient(points, axis=(0, 1)))
    lengths = np.linalg.norm(normals, axis=-1) * np.linalg.norm(points, axis=-1)
    shade: NDArray[np.float64] = np.abs((normals * points).sum(-1)) / lengths
    return 0.25 + 0.75 * shade


def _rays() -> NDArray[np.float64]:
    """Return the rays of all pixels, (H, W, 3), with z = 1."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    flat = LENS.rays(np.stack([x.ravel(), y.ravel()], 1))
    return np.insert(flat, 2, 1, axis=1).reshape(*SIZE, 3)


def _draw_depth(axes: Axes, seen: View) -> Any:
    metres = np.where(seen.depth > 0, seen.depth * METRES, np.nan)
    axes.set(xticks=[], yticks=[])
    return axes.imshow(metres, cmap="viridis_r", vmin=0.5, vmax=6)


def _draw_from_above(axes: Axes, scene: Scene, seen: View, colours: list[str]) -> None:
    points = (seen.depth * METRES)[..., None] * _rays()
    points = points[3::6, 3::6]
    known = points[..., 2] > 0
    axes.plot(*points[known][:, [0, 2]].T, ".", color=BACKGROUND, markersize=1)
    found = _locate(seen)
    far = 1.08 * seen.true_depth.max()
    for index, (mask, colour) in enumerate(zip(seen.true_masks, colours, strict=True)):
        own = known & mask[3::6, 3::6]
        axes.plot(*points[own][:, [0, 2]].T, ".", color=colour, markersize=1.5)
        axes.plot(*seen.points[index, [0, 2]], "ko", markersize=10, markerfacecolor="none")
        axes.plot(*found.points[index, [0, 2]], "kx", markersize=8)
    half = far * SIZE[1] / 2 / LENS.focal[0]
    axes.set(xlim=(-half, half), ylim=(0, far), aspect="equal")
    axes.set_xlabel("x, m  (○ true, × found)")
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    main()
