"""The pose of one track, as Nav2's servers take it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from geometry_msgs.msg import Pose, PoseStamped, Quaternion
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from sipmask_ros.conversions.geometry import to_point

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sipmask_ros.conversions.placement import Placement

# In a camera's optical frame: up, and what is taken for it if the line of sight is that.
_UP = np.array([0.0, -1.0, 0.0])
_BACK = np.array([0.0, 0.0, -1.0])


def target_to_message(
    point: NDArray[np.float64], placement: Placement, header: Header
) -> PoseStamped:
    """Return a point (3,) of the camera's frame as a geometry_msgs/PoseStamped in the other frame.

    header: of the image. What an object's own front is, nobody knows; the pose looks along the line
    of sight: its x axis leads from the camera on, its z axis is up, as the camera has it.
    """
    position = placement.points(point[None])[0].tolist()
    x, y, z, w = (placement.rotation * line_of_sight(point)).as_quat().tolist()
    return PoseStamped(
        header=Header(stamp=header.stamp, frame_id=placement.frame),
        pose=Pose(
            position=to_point(position),
            orientation=Quaternion(x=x, y=y, z=z, w=w),
        ),
    )


def line_of_sight(point: NDArray[np.float64]) -> Rotation:
    """Return the turn of a body (x forward, y left, z up) that looks from the camera to a point."""
    forward = point / np.linalg.norm(point)
    left = np.cross(_UP, forward)
    if np.linalg.norm(left) < 1e-6:
        left = np.cross(_BACK, forward)
    left = left / np.linalg.norm(left)
    return Rotation.from_matrix(np.stack([forward, left, np.cross(forward, left)], axis=1))
