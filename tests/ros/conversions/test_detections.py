"""Conversion to vision_msgs if that is installed, and always to a stand-in with the same fields."""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from sipmask_core.instances import Instances
from sipmask_core.mask_crop import MaskCrop
from sipmask_ros.conversions import detections as vision

HEADER = Header(stamp=Time(sec=12, nanosec=34), frame_id="camera_optical")


@dataclass(slots=True)
class Point2D:
    x: float = 0.0
    y: float = 0.0


@dataclass(slots=True)
class Pose2D:
    position: Point2D = field(default_factory=Point2D)


@dataclass(slots=True)
class BoundingBox2D:
    center: Pose2D = field(default_factory=Pose2D)
    size_x: float = 0.0
    size_y: float = 0.0


@dataclass(slots=True)
class ObjectHypothesis:
    class_id: str = ""
    score: float = 0.0


@dataclass(slots=True)
class ObjectHypothesisWithPose:
    hypothesis: ObjectHypothesis = field(default_factory=ObjectHypothesis)


@dataclass(slots=True)
class Detection2D:
    header: Any = None
    results: list[Any] = field(default_factory=list)
    bbox: BoundingBox2D = field(default_factory=BoundingBox2D)
    id: str = ""


@dataclass(slots=True)
class Detection2DArray:
    header: Any = None
    detections: list[Any] = field(default_factory=list)


STAND_INS = (
    Point2D,
    Pose2D,
    BoundingBox2D,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Detection2D,
    Detection2DArray,
)


@pytest.fixture(params=["vision_msgs", "stand-in"], autouse=True)
def messages(request, monkeypatch):
    if request.param == "vision_msgs":
        pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
    else:
        for stand_in in (ObjectHypothesisWithPose, Detection2D, Detection2DArray):
            monkeypatch.setattr(vision, stand_in.__name__, stand_in, raising=False)


def some_instances(track_ids=(7, -1)):
    mask = MaskCrop(2, 3, np.ones((4, 5), bool))
    return Instances(
        boxes=np.array([(2, 3, 7.5, 7), (0, 0.5, 16, 12)], np.float32),
        scores=np.array([0.75, 0.5], np.float32),
        labels=np.array([1, 0], np.int64),
        mask_crops=[mask, mask],
        image_size=(12, 16),
        track_ids=np.array(track_ids, np.int64),
    )


def test_each_instance_is_a_detection_in_the_same_order():
    message = vision.instances_to_detections(some_instances(), HEADER, ("person", "dog"))
    assert message.header == HEADER
    assert [d.header for d in message.detections] == [HEADER] * 2
    guesses = [
        [(r.hypothesis.class_id, r.hypothesis.score) for r in d.results] for d in message.detections
    ]
    assert guesses == [[("dog", 0.75)], [("person", 0.5)]]
    boxes = [
        (d.bbox.center.position.x, d.bbox.center.position.y, d.bbox.size_x, d.bbox.size_y)
        for d in message.detections
    ]
    assert boxes == [(4.75, 5.0, 5.5, 4.0), (8.0, 6.25, 16.0, 11.5)]


def test_a_detection_has_the_id_of_its_track_and_none_where_it_has_none():
    message = vision.instances_to_detections(some_instances((0, -1)), HEADER, ("person", "dog"))
    assert [d.id for d in message.detections] == ["0", ""]


def test_no_instance_makes_an_empty_array():
    message = vision.instances_to_detections(Instances.empty((12, 16)), HEADER, ("person",))
    assert message.header == HEADER
    assert list(message.detections) == []


def test_the_stand_in_has_fields_that_vision_msgs_has():
    real = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
    for stand_in in STAND_INS:
        names = getattr(real, stand_in.__name__).get_fields_and_field_types()
        assert {f.name for f in fields(stand_in)} <= set(names), stand_in
