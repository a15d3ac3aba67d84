"""Boxes and names for RViz, if visualization_msgs is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from std_msgs.msg import ColorRGBA

from sipmask_core.drawing import GREY, colour
from sipmask_core.instances import UNTRACKED
from sipmask_ros.conversions.geometry import to_point, to_vector

try:
    from visualization_msgs.msg import Marker, MarkerArray
except ImportError:
    MarkerArray = None

if TYPE_CHECKING:
    from collections.abc import Sequence

    from std_msgs.msg import Header

    from sipmask_core.instances import Instances
    from sipmask_core.motion import Velocities
    from sipmask_core.positions import Positions

__all__ = ["MarkerArray", "positions_to_markers"]

OPACITY = 0.4
LETTERS = 0.12  # metres: their height
THINNEST = 0.01  # metres: RViz complains of boxes without depth


def positions_to_markers(
    positions: Positions,
    velocities: Velocities,
    instances: Instances,
    header: Header,
    class_names: Sequence[str],
    tracked: bool,
) -> MarkerArray:
    """Return the boxes of known positions as a visualization_msgs/MarkerArray.

    The first marker deletes those of the image before. Then come, for each, a box in namespace
    `boxes` and a text above it in `names`: class, track id, distance and, if it is known, speed.
    Colours are those of `draw_instances`. tracked: whether what has no id is grey. header: of the
    segmented image. Call it only if visualization_msgs is installed; if not, `MarkerArray` is None.
    """
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    distances = np.linalg.norm(positions.points, axis=1)
    speeds = np.linalg.norm(velocities.values, axis=1)
    for index in np.flatnonzero(positions.valid).tolist():
        track_id = int(instances.track_ids[index])
        tone = _tone(track_id, index, tracked)
        low, high = positions.boxes[index]
        middle, size = ((low + high) / 2).tolist(), np.maximum(high - low, THINNEST).tolist()
        box = _marker(header, "boxes", index, Marker.CUBE, middle)
        box.scale = to_vector(size)
        box.color = ColorRGBA(**tone, a=OPACITY)
        above = [middle[0], float(low[1]) - 1.5 * LETTERS, middle[2]]  # two lines
        name = _marker(header, "names", index, Marker.TEXT_VIEW_FACING, above)
        name.scale.z = LETTERS
        name.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
        name.text = class_names[int(instances.labels[index])]
        if track_id != UNTRACKED:
            name.text += f" #{track_id}"
        name.text += f"\n{distances[index]:.2f} m"
        if np.isfinite(speeds[index]):
            name.text += f", {speeds[index]:.2f} m/s"
        markers += [box, name]
    return MarkerArray(markers=markers)


def _marker(header: Header, namespace: str, number: int, kind: int, place: Sequence[float]) -> Any:
    marker = Marker(header=header, ns=namespace, id=number, type=kind, action=Marker.ADD)
    marker.pose.position = to_point(place)
    return marker


def _tone(track_id: int, index: int, tracked: bool) -> dict[str, float]:
    number = index if track_id == UNTRACKED else track_id
    tone = GREY if tracked and track_id == UNTRACKED else colour(number)
    return {name: value / 255 for name, value in zip("bgr", tone, strict=True)}
