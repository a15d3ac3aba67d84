"""Boxes in space as vision_msgs, if installed, and always as a stand-in with the same fields."""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")

from depth_scenes import LENS, SCENES, view
from geometry_msgs.msg import Pose, PoseWithCovariance, Vector3
from std_msgs.msg import Header

from sipmask_core.positions import Positions, locate
from sipmask_ros.conversions import detections_3d as vision

HEADER = Header(frame_id="camera_optical")
SEEN = view(SCENES[0])


@dataclass(slots=True)
class ObjectHypothesis:
    class_id: str = ""
    score: float = 0.0


@dataclass(slots=True)
class ObjectHypothesisWithPose:
    hypothesis: ObjectHypothesis = field(default_factory=ObjectHypothesis)
    pose: PoseWithCovariance = field(default_factory=PoseWithCovariance)


@dataclass(slots=True)
class BoundingBox3D:
    center: Pose = field(default_factory=Pose)
    size: Vector3 = field(default_factory=Vector3)


@dataclass(slots=True)
class Detection3D:
    header: Any = None
    results: list[Any] = field(default_factory=list)
    bbox: BoundingBox3D = field(default_factory=BoundingBox3D)
    id: str = ""


@dataclass(slots=True)
class Detection3DArray:
    header: Any = None
    detections: list[Any] = field(default_factory=list)


STAND_INS = (
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    BoundingBox3D,
    Detection3D,
    Detection3DArray,
)


@pytest.fixture(params=["vision_msgs", "stand-in"], autouse=True)
def messages(request, monkeypatch):
    if request.param == "vision_msgs":
        pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
    else:
        for stand_in in (ObjectHypothesisWithPose, Detection3D, Detection3DArray):
            monkeypatch.setattr(vision, stand_in.__name__, stand_in, raising=False)


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
    real = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
    for stand_in in STAND_INS:
        names = getattr(real, stand_in.__name__).get_fields_and_field_types()
        assert {f.name for f in fields(stand_in)} <= set(names), stand_in
