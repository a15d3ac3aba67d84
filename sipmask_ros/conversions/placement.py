"""How a camera stands in another frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    from geometry_msgs.msg import Transform
    from numpy.typing import NDArray
    from std_msgs.msg import Header


class Placement(NamedTuple):
    """How a camera stands in a frame, at one moment.

    rotation, translation: from the camera's optical frame into `frame`; translation (3,) in metres.
    """

    frame: str
    rotation: Rotation
    translation: NDArray[np.float64]

    @classmethod
    def itself(cls, header: Header) -> Placement:
        """Return how a camera stands in its own frame, that of an image's header."""
        return cls(header.frame_id, Rotation.identity(), np.zeros(3))

    @classmethod
    def read(cls, frame: str, transform: Transform) -> Placement:
        """Return what a geometry_msgs/Transform from the camera into `frame` says."""
        turned, moved = transform.rotation, transform.translation
        return cls(
            frame,
            Rotation.from_quat([turned.x, turned.y, turned.z, turned.w]),
            np.array([moved.x, moved.y, moved.z]),
        )

    def points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points (N, 3) of the camera's frame in the other one."""
        moved: NDArray[np.float64] = points @ self.rotation.as_matrix().T + self.translation
        return moved
