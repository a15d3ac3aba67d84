"""Points and vectors of geometry_msgs, from three numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geometry_msgs.msg import Point, Vector3

if TYPE_CHECKING:
    from collections.abc import Iterable


def to_point(xyz: Iterable[float]) -> Point:
    """Return three floats of Python, x y z, as a geometry_msgs/Point."""
    x, y, z = xyz
    return Point(x=x, y=y, z=z)


def to_vector(xyz: Iterable[float]) -> Vector3:
    """Return three floats of Python, x y z, as a geometry_msgs/Vector3."""
    x, y, z = xyz
    return Vector3(x=x, y=y, z=z)
