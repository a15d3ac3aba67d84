import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")

import tf2_double
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from sipmask_core.positions import Positions
from sipmask_ros.conversions import track_frames


@pytest.fixture(params=["tf2_msgs", "stand-in"], autouse=True)
def messages(request, monkeypatch):
    if request.param == "tf2_msgs":
        pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed")
    else:
        monkeypatch.setattr(track_frames, "TFMessage", tf2_double.TFMessage)


def test_each_named_position_that_is_known_is_a_frame_with_a_valid_name():
    positions = Positions.unknown(3)
    positions.points[:2] = [(1, 2, 3), (4, 5, 6)]
    header = Header(stamp=Time(sec=7), frame_id="/robot/camera")
    names = {1: "dining table_12", 2: "dog_3"}
    (frame,) = track_frames.positions_to_transforms(positions, names, header).transforms
    assert frame.header == Header(stamp=Time(sec=7), frame_id="robot/camera")
    assert frame.child_frame_id == "robot_camera_dining_table_12"
    moved, turned = frame.transform.translation, frame.transform.rotation
    assert (moved.x, moved.y, moved.z) == (4, 5, 6)
    assert (turned.x, turned.y, turned.z, turned.w) == (0, 0, 0, 1)


def test_nothing_named_gives_no_frame():
    header = Header(frame_id="camera")
    assert not track_frames.positions_to_transforms(Positions.unknown(1), {}, header).transforms
