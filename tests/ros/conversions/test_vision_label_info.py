"""LabelInfo of vision_msgs if that is installed, and always of a stand-in with the same fields."""

import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

import vision_msgs_double as double
from builtin_interfaces.msg import Time

from sipmask_ros.conversions import vision_label_info as vision

NOW = Time(sec=12, nanosec=34)
NAMES = ("person", "cup", "dog")


@pytest.fixture(params=double.PACKAGES, autouse=True)
def messages(request, monkeypatch):
    double.install(request.param, monkeypatch, vision, double.VisionClass, double.LabelInfo)


def class_map(message):
    return {entry.class_id: entry.class_name for entry in message.class_map}


def test_a_value_of_the_label_mask_is_the_class_id_and_one():
    message = vision.vision_label_info_message(NOW, NAMES, 0.25)
    assert class_map(message) == {1: "person", 2: "cup", 3: "dog"}
    assert message.threshold == 0.25
    assert message.header.stamp == NOW


def test_only_classes_that_are_reported_are_named():
    message = vision.vision_label_info_message(NOW, NAMES, 0.25, ("dog", "person"))
    assert class_map(message) == {1: "person", 3: "dog"}


def test_a_class_that_no_mask_can_show_is_left_out():
    names = [f"class {number}" for number in range(300)]
    assert list(class_map(vision.vision_label_info_message(NOW, names, 0.5))) == [*range(1, 255)]


def test_the_stand_in_has_fields_that_vision_msgs_has():
    for stand_in in (double.VisionClass, double.LabelInfo):
        own, real = double.fields_of(stand_in)
        assert own == real, stand_in
