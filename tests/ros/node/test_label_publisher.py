from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from builtin_interfaces.msg import Time
from scripted_node import ScriptedPredictor
from sipmask_ros.msg import LabelInfo

from sipmask_ros.conversions import vision_label_info
from sipmask_ros.conversions.label_info import LATCHED
from sipmask_ros.node.label_publisher import LabelPublisher
from sipmask_ros.node.parameters import Parameters


class Recorder:
    """What LabelPublisher needs of a node: publishers made and destroyed, messages kept."""

    def __init__(self):
        self.topics = {}

    def create_publisher(self, kind, topic, qos):
        assert qos is LATCHED
        publisher = SimpleNamespace(topic=topic, kind=kind, sent=[])
        publisher.publish = publisher.sent.append
        self.topics[topic] = publisher
        return publisher

    def destroy_publisher(self, publisher):
        del self.topics[publisher.topic]

    def get_clock(self):
        now = SimpleNamespace(to_msg=lambda: Time(sec=5))
        return SimpleNamespace(now=lambda: now)


class VisionLabelInfo(SimpleNamespace):
    def __init__(self, **fields):
        super().__init__(header=SimpleNamespace(stamp=None), **fields)


@pytest.mark.parametrize("has_vision_msgs", [False, True])
def test_classes_are_told_in_nav2_s_message_too_if_it_is_installed(monkeypatch, has_vision_msgs):
    kind = VisionLabelInfo if has_vision_msgs else None
    monkeypatch.setattr(vision_label_info, "LabelInfo", kind)
    monkeypatch.setattr(vision_label_info, "VisionClass", SimpleNamespace, raising=False)
    node = Recorder()
    labels = LabelPublisher(node)
    labels.publish(ScriptedPredictor(), Parameters(classes=("dog",), score_threshold=0.5))
    (own,) = node.topics["~/label_info"].sent
    assert isinstance(own, LabelInfo)
    assert (own.reported_classes, own.score_threshold) == (["dog"], 0.5)
    assert ("~/vision_label_info" in node.topics) == has_vision_msgs
    if has_vision_msgs:
        (vision,) = node.topics["~/vision_label_info"].sent
        assert [(c.class_id, c.class_name) for c in vision.class_map] == [(2, "dog")]
        assert vision.threshold == 0.5
        assert vision.header.stamp == own.header.stamp == Time(sec=5)
    labels.destroy()
    assert node.topics == {}
