"""Conversion to vision_msgs if that is installed, and always to a stand-in with the same fields."""

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

import vision_msgs_double as double
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from sipmask_core.instances import Instances
from sipmask_core.mask_crop import MaskCrop
from sipmask_ros.conversions import detections as vision

HEADER = Header(stamp=Time(sec=12, nanosec=34), frame_id="camera_optical")


@pytest.fixture(params=double.PACKAGES, autouse=True)
def messages(request, monkeypatch):
    kinds = (double.ObjectHypothesisWithPose, double.Detection2D, double.Detection2DArray)
    double.install(request.param, monkeypatch, vision, *kinds)


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
    for stand_in in (
        double.Point2D,
        double.Pose2D,
        double.BoundingBox2D,
        double.ObjectHypothesis,
        double.ObjectHypothesisWithPose,
        double.Detection2D,
        double.Detection2DArray,
    ):
        own, real = double.fields_of(stand_in)
        assert own <= real, stand_in
