import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")

from builtin_interfaces.msg import Time
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from sipmask_ros.conversions.placement import Placement
from sipmask_ros.conversions.target import target_to_message

HEADER = Header(stamp=Time(sec=5), frame_id="camera_optical")
# A camera half a metre above the ground that looks along x of odom.
LEVEL = Placement("odom", Rotation.from_quat([-0.5, 0.5, -0.5, 0.5]), np.array([1.0, 0.0, 0.5]))


def test_the_pose_is_in_the_target_frame_and_looks_along_the_line_of_sight():
    message = target_to_message(np.array([-1.0, 0.0, 1.0]), LEVEL, HEADER)
    assert (message.header.frame_id, message.header.stamp) == ("odom", HEADER.stamp)
    position, turn = message.pose.position, message.pose.orientation
    assert np.allclose([position.x, position.y, position.z], [2, 1, 0.5])
    angles = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).as_euler("xyz", degrees=True)
    assert np.allclose(angles, [0, 0, 45], atol=1e-9), "to the left, upright"


@pytest.mark.parametrize("point", [(0, 2, 0), (0, -2, 1e-9), (0, 0, 3), (1, 2, 3)])
def test_every_direction_has_a_turn(point):
    message = target_to_message(np.array(point, float), Placement.itself(HEADER), HEADER)
    assert message.header == HEADER
    turn = message.pose.orientation
    forward = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).apply([1, 0, 0])
    assert np.allclose(forward, np.array(point) / np.linalg.norm(point))
