"""Where a camera is in the frame that the parameter `target_frame` names, by tf2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.duration import Duration
from rclpy.time import Time

from sipmask_core.errors import InputError
from sipmask_ros.conversions.placement import Placement
from sipmask_ros.conversions.track_frames import TFMessage

try:
    import tf2_ros
except ImportError:
    tf2_ros = None

if TYPE_CHECKING:
    from rclpy.node import Node
    from std_msgs.msg import Header

    from sipmask_ros.node.parameters import Parameters

# Seconds that an image's transform may come later than its instances are known. The instances are
# out by then, but the next image waits.
PATIENCE = 0.05


def require_tf2(parameters: Parameters) -> None:
    """Raise InputError if what the parameters want of tf2 is not installed."""
    if parameters.target_frame and tf2_ros is None:
        raise InputError(
            f"The parameter target_frame is {parameters.target_frame!r}, but tf2_ros, which it"
            " needs, is not installed; install the package tf2_ros_py, or leave target_frame empty."
        )
    if parameters.publish_tf and TFMessage is None:
        raise InputError(
            "The parameter publish_tf is true, but tf2_msgs, which it needs, is not installed;"
            " install the package tf2_msgs, or leave publish_tf false."
        )


class Transforms:
    """What a node hears of tf2, from now until `close`. It needs tf2_ros, see above."""

    def __init__(self, node: Node) -> None:
        self.buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self.buffer, node)

    def close(self) -> None:
        """Listen no more."""
        self._listener.unregister()


class TargetFrame:
    """Finds where one camera was in a frame when it took an image."""

    def __init__(self, node: Node, name: str, transforms: Transforms) -> None:
        self.name = name
        self.missing = 0  # images for which there was no transform
        self._buffer: Any = transforms.buffer
        self._log = node.get_logger()

    def placement(self, header: Header) -> Placement | None:
        """Return how the camera stood at the stamp of its image, or None if tf2 cannot tell.

        The first time, a warning says why; all are counted. Waits `PATIENCE` at most.
        """
        camera = header.frame_id.lstrip("/")
        try:
            found = self._buffer.lookup_transform(
                self.name, camera, Time.from_msg(header.stamp), Duration(seconds=PATIENCE)
            ).transform
        except tf2_ros.TransformException as error:
            self.missing += 1
            if self.missing == 1:
                self._log.warning(
                    f"tf2 has no transform from the frame {camera!r} to the target_frame"
                    f" {self.name!r} at the stamp of an image; what needs it is left out, and"
                    f" /diagnostics counts how often. {error}"
                )
            return None
        return Placement.read(self.name, found)
