"""Segments one photo by the running segmentation_node.

ros2 launch sipmask_ros camera.launch.py                in one terminal
python examples/segment_on_request.py photo.jpg         in another
"""

import sys

import cv2
import rclpy
from sipmask_ros.srv import Segment
from std_msgs.msg import Header

from sipmask_ros.conversions import array_to_image


def main(photo: str) -> int:
    """Print what the node finds in a photo. Return the exit code."""
    picture = cv2.imread(photo)
    if picture is None:
        sys.exit(f"{photo} cannot be read.")
    rclpy.init()
    node = rclpy.create_node("asking")
    client = node.create_client(Segment, "segmentation_node/segment")
    client.wait_for_service()
    image = array_to_image(picture, "bgr8", Header())
    future = client.call_async(Segment.Request(image=image))
    rclpy.spin_until_future_complete(node, future)
    answer = future.result()
    print(answer.message)
    for instance in answer.instances.instances:
        print(f"{instance.class_name} {instance.score:.2f}")
    node.destroy_node()
    rclpy.shutdown()
    return 0 if answer.success else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
