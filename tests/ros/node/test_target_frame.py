"""The node's frames: with a double of tf2_ros, since few test machines have the real one."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

import tf2_double
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from sipmask_core.errors import InputError
from sipmask_core.instances import Instances
from sipmask_core.mask_crop import MaskCrop
from sipmask_core.positions import Positions
from sipmask_core.tracking.online import OnlineTracker
from sipmask_core.tracking.settings import TrackerSettings
from sipmask_ros.node import target_frame
from sipmask_ros.node.camera_tracks import CameraTracks
from sipmask_ros.node.parameters import Parameters
from sipmask_ros.node.target_frame import PATIENCE, TargetFrame, Transforms, require_tf2

HALF = np.sqrt(0.5)
# From a camera's optical frame into one with x forward, y left, z up.
OPTICAL = (-0.5, 0.5, -0.5, 0.5)


class Recorder:
    def __init__(self):
        self.warnings = []

    def get_logger(self):
        return self

    def warning(self, text):
        self.warnings.append(text)


@pytest.fixture
def tf2(monkeypatch):
    monkeypatch.setattr(target_frame, "tf2_ros", tf2_double)
    return tf2_double


def header(seconds, frame="camera"):
    return Header(stamp=Time(sec=seconds // 10, nanosec=seconds % 10 * 10**8), frame_id=frame)


def test_points_of_the_camera_are_given_in_the_target_frame_of_that_moment(tf2):
    transforms = Transforms(Recorder())
    transforms.buffer.set("odom", "camera", 12_300_000_000, (10, 0, 1), OPTICAL)
    placement = TargetFrame(Recorder(), "odom", transforms).placement(header(123, "/camera"))
    assert placement.frame == "odom"
    assert np.allclose(placement.points(np.array([[0.5, 0.25, 2.0]])), [[12, -0.5, 0.75]])
    assert transforms.buffer.waited == [PATIENCE]


def test_a_missing_transform_is_named_once_and_counted(tf2):
    transforms, node = Transforms(Recorder()), Recorder()
    frame = TargetFrame(node, "odom", transforms)
    assert frame.placement(header(1)) is None
    transforms.buffer.set("odom", "camera", 100_000_000, (0, 0, 0))
    assert frame.placement(header(2)) is None
    assert frame.placement(header(1)) is not None
    assert frame.missing == 2
    (warning,) = node.warnings
    assert warning.startswith(
        "tf2 has no transform from the frame 'camera' to the target_frame 'odom' at the stamp of an"
    )
    assert warning.endswith('"camera" does not exist.')


def test_who_listens_no_more_has_unregistered(tf2):
    transforms = Transforms(Recorder())
    transforms.close()
    assert not transforms._listener.is_registered


@pytest.mark.parametrize(
    ("wanted", "package"),
    [({"target_frame": "odom"}, "tf2_ros"), ({"publish_tf": True}, "tf2_msgs")],
)
def test_without_the_package_the_parameter_is_refused_and_otherwise_nobody_asks(
    monkeypatch, wanted, package
):
    monkeypatch.setattr(target_frame, "tf2_ros", None)
    monkeypatch.setattr(target_frame, "TFMessage", None)
    require_tf2(Parameters())
    with pytest.raises(InputError, match=f"{package}, which it needs, is not installed"):
        require_tf2(Parameters(**wanted))
    monkeypatch.setattr(target_frame, "tf2_ros", tf2_double)
    monkeypatch.setattr(target_frame, "TFMessage", tf2_double.TFMessage)
    require_tf2(Parameters(**wanted))


@pytest.mark.parametrize("name", ["/odom", " odom", "odom "])
def test_a_frame_that_tf2_cannot_have_is_refused(name):
    with pytest.raises(InputError, match=f"The parameter target_frame is '{name}'; frames of tf2"):
        Parameters(target_frame=name)


def seen(x=0.0, label=0):
    """Return one object at (x, 0, 2) metres, and its position."""
    instances = Instances(
        boxes=np.array([[2, 3, 7, 7]], np.float32),
        scores=np.array([0.9], np.float32),
        labels=np.array([label]),
        mask_crops=[MaskCrop(2, 3, np.ones((4, 5), bool))],
        image_size=(12, 16),
    )
    unknown = Positions.unknown(1)
    unknown.points[:], unknown.deviations[:] = (x, 0, 2), 0.02
    return instances, unknown


def watch(tracks, tracker, count, move=0.0, label=0):
    """Show an object in `count` images; return instances and velocities of the last."""
    for step in range(count):
        now = header(1000 + step)
        instances, positions = seen(move * step, label)
        instances = tracker.update(instances)
        found = tracks.velocities(now, instances, positions, tracks.placement(now))
    return instances, found


def test_a_thing_that_stands_still_moves_only_for_the_camera_that_drives(tf2):
    transforms = Transforms(Recorder())
    for step in range(4):
        transforms.buffer.set(
            "odom", "camera", (1000 + step) * 10**8, (0, 0.1 * step, 0), (0, 0, -HALF, HALF)
        )
    for frame, expected in (("odom", [0, 0, 0]), (None, [1, 0, 0])):
        tracker = OnlineTracker(TrackerSettings())
        target = frame and TargetFrame(Recorder(), frame, transforms)
        tracks = CameraTracks(tracker, None, target)
        _, found = watch(tracks, tracker, 4, move=0.1)
        assert np.allclose(found.values, [expected], atol=1e-9)
        assert tracks.frame(header(0)) == (frame or "camera")


def test_a_velocity_needs_a_transform_and_a_stamp(tf2):
    tracker = OnlineTracker(TrackerSettings())
    tracks = CameraTracks(tracker, None, TargetFrame(Recorder(), "odom", Transforms(Recorder())))
    assert np.isnan(watch(tracks, tracker, 4)[1].values).all()
    tracks = CameraTracks(tracker, None)
    instances, positions = seen()
    assert np.isnan(tracks.velocities(header(0), instances, positions, None).values).all()


def test_a_confirmed_track_keeps_the_name_that_it_got():
    tracker = OnlineTracker(TrackerSettings())
    tracks = CameraTracks(tracker, None)
    instances, _ = watch(tracks, tracker, 2)
    assert tracks.names(instances, ["dining table", "dog"]) == {}
    instances, _ = watch(tracks, tracker, 2)
    assert tracks.names(instances, ["dining table", "dog"]) == {0: "dining table_0"}
    instances, _ = watch(tracks, tracker, 1, label=1)
    assert tracks.names(instances, ["dining table", "dog"]) == {0: "dining table_0"}
