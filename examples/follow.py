"""A ROS node that follows the nearest person and prints where it is, and how fast anything moves.

ros2 launch sipmask_ros camera.launch.py image_topic:=... depth_topic:=...    in one terminal
python examples/follow.py                                                     in another
"""

from contextlib import suppress

import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.task import Future
from sipmask_ros.msg import InstancePositionArray
from sipmask_ros.srv import Follow

NODE = "segmentation_node"


class Companion(Node):
    """Asks once in a second for the nearest person until one is followed, then prints."""

    def __init__(self) -> None:
        super().__init__("companion")
        self.create_subscription(PoseStamped, f"{NODE}/target", self.on_target, 1)
        self.create_subscription(InstancePositionArray, f"{NODE}/positions", self.on_positions, 10)
        self.follow = self.create_client(Follow, f"{NODE}/follow")
        self.asking = self.create_timer(1.0, self.ask)

    def ask(self) -> None:
        """Choose the nearest confirmed person; the subscriptions above keep the node at work."""
        if not self.follow.service_is_ready():
            print(f"Waiting for {NODE} with a depth topic.", flush=True)
            return
        request = Follow.Request(class_name="person")
        self.follow.call_async(request).add_done_callback(self.on_answer)

    def on_answer(self, future: Future) -> None:
        """Print what is followed, or why nothing is."""
        print(future.result().message, flush=True)
        if future.result().success:
            self.asking.cancel()

    def on_target(self, message: PoseStamped) -> None:
        """Print where the person is."""
        at = message.pose.position
        print(f"{message.header.frame_id}: {at.x:.2f} {at.y:.2f} {at.z:.2f}", flush=True)

    def on_positions(self, message: InstancePositionArray) -> None:
        """Print how fast each track moves along x; NaN until it was seen three times."""
        for one in message.positions:
            speed = f"{one.velocity.x:.2f} ± {one.velocity_deviation:.2f} m/s"
            name = f"{one.class_name} #{one.track_id}"
            print(f"{name}: {speed} in {message.velocity_frame}", flush=True)


if __name__ == "__main__":
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(Companion())
