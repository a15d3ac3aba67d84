"""LabelInfo of vision_msgs if that is installed, and always of a stand-in with the same fields."""

from dataclasses import dataclass, field, fields
from typing import Any

import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from sipmask_ros.conversions import vision_label_info as vision

NOW = Time(sec=12, nanosec=34)
NAMES = ("person", "cup", "dog")


@dataclass(slots=True)
class VisionClass:
    class_id: int = 0
    class_name: str = ""


@dataclass(slots=True)
class LabelInfo:
    header: Any = field(default_factory=Header)
    class_map: list[Any] = field(default_factory=list)
    threshold: float = 0.0


@pytest.fixture(params=["vision_msgs", "stand-in"], autouse=True)
def messages(request, monkeypatch):
    if request.param == "vision_msgs":
        pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
    else:
        for stand_in in (VisionClass, LabelInfo):
            monkeypatch.setattr(vision, stand_in.__name__, stand_in, raising=False)


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
    real = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
    for stand_in in (VisionClass, LabelInfo):
        names = getattr(real, stand_in.__name__).get_fields_and_field_types()
        assert {f.name for f in fields(stand_in)} == set(names), stand_in
