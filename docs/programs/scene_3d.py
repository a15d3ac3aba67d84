"""What `~/markers` shows in RViz, drawn by matplotlib: boxes, names, distances and speeds.

A made-up scene (tests/helpers/depth_scenes.py) is looked at for a second, as a depth camera and a
network would see it; the last image and its MarkerArray are drawn, with arrows for the velocities.

  PYTHONPATH=tests/helpers python docs/programs/scene_3d.py docs/scene_3d.png
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from depth_scenes import LENS, SIZE, Patch, Scene, facing, person, sphere, view
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from sipmask_core.drawing import draw_instances
from sipmask_core.motion import TrackMotions
from sipmask_core.positions import locate
from sipmask_ros.conversions.markers import positions_to_markers

if TYPE_CHECKING:
    from depth_scenes import View
    from mpl_toolkits.mplot3d import Axes3D
    from numpy.typing import NDArray

    from sipmask_core.motion import Velocities

METRES = 1e-3  # of the scene's depth images
RATE = 10  # images per second
NAMES = ("person", "sports ball")
FLOOR = Patch((0, 1.05, 4), (6, 0, 0), (0, 0, 3.5))
ROOM = (FLOOR, facing(0, 0, 6, 40, 40))
EVERY = 4  # pixels between those that are drawn as points
GREY = (0.72, 0.72, 0.74)


def scene(seconds: float) -> Scene:
    """Return the room after so many seconds: two people walk, and a ball rolls."""
    return Scene(
        "room",
        {
            "ball": [sphere(-0.4 + 0.9 * seconds, 0.9, 3.0 - 0.3 * seconds, 0.15)],
            "walks to the right": person(-1.5 + 0.8 * seconds, 3.0),
            "comes nearer": person(1.2, 5.2 - 1.1 * seconds),
        },
        ROOM,
        too_large=2,
        mixed=3,
    )


def main() -> None:
    """Look at the scene and draw it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("picture", type=Path, help="PNG to draw into")
    args = parser.parse_args()
    motions = TrackMotions()
    for image in range(RATE):
        seconds = image / RATE
        seen = view(scene(seconds), image)
        instances = seen.instances
        instances.labels[:] = (1, 0, 0)
        found = locate(instances, seen.depth, METRES, LENS)
        ids = instances.track_ids
        velocities = motions.update(seconds, ids, found.points, found.deviations, set(ids.tolist()))
    header = Header(frame_id="camera_optical")
    markers = positions_to_markers(found, velocities, instances, header, NAMES, True).markers
    _draw(args.picture, seen, markers, found.points, velocities)


def _draw(
    path: Path,
    seen: View,
    markers: list[Any],
    points: NDArray[np.float64],
    velocities: Velocities,
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.6))
    axes = figure.add_axes((0.005, 0.02, 0.44, 0.96))
    light = np.uint8(255 * _light(seen))[..., None].repeat(3, axis=2)
    axes.imshow(draw_instances(light, seen.instances, NAMES, alpha=0.55)[..., ::-1])
    axes.set(xticks=[], yticks=[])
    _draw_space(
        figure.add_axes((0.46, -0.04, 0.54, 1.14), projection="3d"),
        seen,
        markers,
        points,
        velocities,
    )
    figure.savefig(path, dpi=90)


def _draw_space(
    axes: Axes3D,
    seen: View,
    markers: list[Any],
    points: NDArray[np.float64],
    velocities: Velocities,
) -> None:
    boxes = [m for m in markers if m.type == Marker.CUBE and m.action == Marker.ADD]
    names = [m for m in markers if m.type == Marker.TEXT_VIEW_FACING]
    cloud = ((seen.depth * METRES)[..., None] * _rays())[::EVERY, ::EVERY]
    rest = np.ones(cloud.shape[:2], bool)
    rest &= (cloud[..., 1] > 1.0) | (cloud[..., 2] < 5.5)  # no wall behind the names
    for mask, box in zip(seen.instances.masks, boxes, strict=True):
        own = mask[::EVERY, ::EVERY] & (cloud[..., 2] < box.pose.position.z + 0.5)
        rest &= ~own
        tone = (box.color.r, box.color.g, box.color.b)
        axes.plot(*_in_room(cloud[own]), ".", color=tone, markersize=1.6)
        axes.plot(*_in_room(_edges(box)), color=tone, linewidth=1.4)
    rest &= np.abs(cloud[..., 0]) < 2.6
    axes.plot(*_in_room(cloud[rest]), ".", color=GREY, markersize=0.7, zorder=-1)
    for point, velocity in zip(points, velocities.values, strict=True):
        axes.quiver(*_in_room(point), *_in_room(velocity), color="black", linewidth=1.6)
    for name in names:
        place = name.pose.position
        axes.text(
            *_in_room(np.array([place.x, place.y, place.z])),
            name.text,
            ha="center",
            va="bottom",
            fontsize=10,
            zorder=10,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5},
        )
    axes.plot([0, 0], [0, 0], [-1.1, 0], color="black", linewidth=1)
    axes.plot(0, 0, 0, "ks", markersize=7)
    axes.text(0.15, 0, 0.05, "camera", fontsize=10)
    axes.set(xlim=(-2, 2), ylim=(0, 5.5), zlim=(-1.1, 1.1), aspect="equal")
    axes.set(xticks=range(-2, 3), yticks=range(6), zticks=(-1, 0, 1))
    axes.set(xlabel="x, m", ylabel="z, m", zlabel="-y, m")
    axes.view_init(elev=20, azim=-52)
    axes.set_box_aspect((4, 5.5, 2.2), zoom=1.15)


def _in_room(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points of the camera's frame (..., 3) as matplotlib has them, (3, ...), z upwards."""
    x, y, z = np.moveaxis(points, -1, 0)
    return np.stack([x, z, -y])


def _edges(box: Any) -> NDArray[np.float64]:
    """Return the twelve edges of a CUBE marker as one line with gaps: (36, 3)."""
    place, size = box.pose.position, box.scale
    middle = np.array([place.x, place.y, place.z])
    half = np.array([size.x, size.y, size.z]) / 2
    corners = [np.array(signs) for signs in product((-1, 1), repeat=3)]
    lines = [
        [middle + a * half, middle + b * half, np.full(3, np.nan)]
        for a in corners
        for b in corners
        if (b - a).sum() == 2 and (a != b).sum() == 1
    ]
    return np.concatenate(lines)


def _rays() -> NDArray[np.float64]:
    """Return the rays of all pixels, (H, W, 3), with z = 1."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    flat = LENS.rays(np.stack([x.ravel(), y.ravel()], 1))
    return np.insert(flat, 2, 1, axis=1).reshape(*SIZE, 3)


def _light(seen: View) -> NDArray[np.float64]:
    """Return how bright a lamp beside the camera makes the surfaces: (H, W), in [0, 1]."""
    points = seen.true_depth[..., None] * _rays()
    normals = np.cross(*np.gradient(points, axis=(0, 1)))
    towards = points - [2.0, -2.0, 0.0]
    lengths = np.linalg.norm(normals, axis=-1) * np.linalg.norm(towards, axis=-1)
    shade: NDArray[np.float64] = np.abs((normals * towards).sum(-1)) / lengths
    return 0.25 + 0.7 * shade


if __name__ == "__main__":
    main()
