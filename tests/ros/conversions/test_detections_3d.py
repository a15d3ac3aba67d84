"""Boxes in space as vision_msgs, if installed, and always as a stand-in with the same fields."""

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")

import vision_msgs_double as double
from depth_scenes import LENS, SCENES, view
from std_msgs.msg import Header

from sipmask_core.positions import Positions, locate
from sipmask_ros.conversions import detections_3d as vision

HEADER = Header(frame_id="camera_optical")
SEEN = view(SCENES[0])


@pytest.fixture(params=double.PACKAGES, autouse=True)
def messages(request, monkeypatch):
    kinds = (double.ObjectHypothesisWithPose, double.Detection3D, double.Detection3DArray)
    double.install(request.param, monkeypatch, vision, *kinds)


def test_each_known_position_is_a_detection_with_its_box():
    found = locate(SEEN.instances, SEEN.depth, 1e-3, LENS)
    message = vision.positions_to_detections(found, SEEN.instances, HEADER, ("ball",))
    assert message.header == HEADER
    assert [d.id for d in message.detections] == ["1", "2", "3"]
    assert all(d.header == HEADER for d in message.detections)
    for index, detection in enumerate(message.detections):
        (guess,) = detection.results
        assert guess.hypothesis.class_id == "ball"
        assert guess.hypothesis.score == pytest.approx(SEEN.instances.scores[index])
        centre, size = detection.bbox.center.position, detection.bbox.size
        assert guess.pose.pose == detection.bbox.center
        low, high = found.boxes[index]
        assert np.allclose([centre.x, centre.y, centre.z], (low + high) / 2)
        assert np.allclose([size.x, size.y, size.z], high - low)


def test_what_has_no_position_has_no_box_and_what_has_no_track_no_id():
    positions = Positions.unknown(3)
    positions.points[1], positions.boxes[1] = (0, 0, 2), [(-1, -1, 2), (1, 1, 3)]
    instances = SEEN.instances[[0, 1, 2]]
    instances.track_ids[:] = -1
    (detection,) = vision.positions_to_detections(positions, instances, HEADER, "b").detections
    assert detection.id == ""
    assert detection.bbox.center.position.z == 2.5


def test_the_stand_in_has_fields_that_vision_msgs_has():
    for stand_in in (double.BoundingBox3D, double.Detection3D, double.Detection3DArray):
        own, real = double.fields_of(stand_in)
        assert own <= real, stand_in
