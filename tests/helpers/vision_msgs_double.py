"""Stand-ins for messages of vision_msgs, with the fields that we fill, for machines without it."""

from dataclasses import dataclass, field, fields
from typing import Any

import pytest
from geometry_msgs.msg import Pose, PoseWithCovariance, Vector3
from std_msgs.msg import Header

PACKAGES = ("vision_msgs", "stand-in")


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
class BoundingBox3D:
    center: Pose = field(default_factory=Pose)
    size: Vector3 = field(default_factory=Vector3)


@dataclass(slots=True)
class ObjectHypothesis:
    class_id: str = ""
    score: float = 0.0


@dataclass(slots=True)
class ObjectHypothesisWithPose:
    hypothesis: ObjectHypothesis = field(default_factory=ObjectHypothesis)
    pose: PoseWithCovariance = field(default_factory=PoseWithCovariance)


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


@dataclass(slots=True)
class VisionClass:
    class_id: int = 0
    class_name: str = ""


@dataclass(slots=True)
class LabelInfo:
    header: Any = field(default_factory=Header)
    class_map: list[Any] = field(default_factory=list)
    threshold: float = 0.0


def install(package, monkeypatch, module, *stand_ins):
    """Let a module of ours use the real messages, or skip the test, or use these stand-ins."""
    if package == "vision_msgs":
        pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
    else:
        for stand_in in stand_ins:
            monkeypatch.setattr(module, stand_in.__name__, stand_in, raising=False)


def fields_of(stand_in):
    """Return the names of a stand-in's fields, and of the real message's; skip without it."""
    real = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
    names = getattr(real, stand_in.__name__).get_fields_and_field_types()
    return {each.name for each in fields(stand_in)}, set(names)
