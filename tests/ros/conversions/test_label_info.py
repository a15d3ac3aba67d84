import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

import rclpy
from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.wait_for_message import wait_for_message
from ros_harness import PATIENCE, start_ros
from sipmask_ros.msg import LabelInfo

from sipmask_ros.conversions.label_info import LATCHED, label_info_message

NAMES = ("person", "dog", "cat")
NOW = Time(sec=12, nanosec=34)


def test_a_class_id_is_the_index_of_its_name():
    message = label_info_message(NOW, "tiny", NAMES, 0.25)
    assert message.class_names == list(NAMES)
    assert message.model == "tiny"
    assert message.score_threshold == 0.25
    assert message.header.stamp == NOW
    assert message.header.frame_id == ""


def test_all_classes_are_reported_unless_some_were_chosen():
    assert label_info_message(NOW, "tiny", NAMES, 0.25).reported_classes == list(NAMES)
    assert label_info_message(NOW, "tiny", NAMES, 0.25, ("cat",)).reported_classes == ["cat"]


def test_who_subscribes_late_gets_the_newest():
    start_ros()
    node = Node("segmentation_node")
    publisher = node.create_publisher(LabelInfo, "~/label_info", LATCHED)
    sent = [label_info_message(NOW, "tiny", NAMES, threshold) for threshold in (0.25, 0.5)]
    for message in sent:
        publisher.publish(message)
    came, received = wait_for_message(
        LabelInfo, node, "~/label_info", qos_profile=LATCHED, time_to_wait=PATIENCE
    )
    node.destroy_node()
    rclpy.shutdown()
    assert came
    assert received == sent[-1]
