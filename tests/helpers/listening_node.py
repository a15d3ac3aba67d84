"""Subscribe reliably to the instances of a node; tests run it as a process.

usage: listening_node.py NAMESPACE
"""

import sys

import rclpy
from node_harness import RELIABLE
from sipmask_ros.msg import InstanceArray


def hear(message):
    """Print a message; rclpy looks at the signature, which Python 3.10 has for no builtin."""
    print(message)


if __name__ == "__main__":
    rclpy.init()
    node = rclpy.create_node("listener", namespace=sys.argv[1])
    node.create_subscription(InstanceArray, "segmentation_node/instances", hear, RELIABLE)
    rclpy.spin(node)
