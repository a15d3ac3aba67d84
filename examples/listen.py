"""A ROS node that prints what segmentation_node sees.

ros2 launch sipmask_ros camera.launch.py        in one terminal
python examples/listen.py                       in another
"""

from contextlib import suppress

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sipmask_ros.msg import InstanceArray

from sipmask_ros.conversions import message_to_instances


class Listener(Node):
    """Subscribes and prints; while nobody subscribes to instances, the model rests."""

    def __init__(self) -> None:
        super().__init__("listener")
        topic = "segmentation_node/instances"
        self.create_subscription(InstanceArray, topic, self.on_instances, 10)

    def on_instances(self, message: InstanceArray) -> None:
        """Print a line for each image."""
        masks = message_to_instances(message).masks  # (N, H, W) bool
        seen = [
            f"{instance.class_name} #{instance.track_id} ({mask.mean():.0%} of the image)"
            for instance, mask in zip(message.instances, masks, strict=True)
        ]
        stamp = message.header.stamp
        print(f"{stamp.sec}.{stamp.nanosec:09}: {', '.join(seen) or 'nothing'}", flush=True)


def main() -> None:
    """Listen until Ctrl-C."""
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(Listener())


if __name__ == "__main__":
    main()
