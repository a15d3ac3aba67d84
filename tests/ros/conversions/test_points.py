import struct

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from sensor_msgs.msg import PointField
from std_msgs.msg import Header

from sipmask_core.instances import Instances
from sipmask_core.positions import FARTHEST, Lens
from sipmask_ros.conversions.masks import label_image
from sipmask_ros.conversions.points import POINT, instance_points, points_to_message

HEIGHT, WIDTH = SIZE = 12, 16
LENS = Lens(focal=(20.0, 25.0), centre=(7.5, 5.5))
IMAGE = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint16).reshape(HEIGHT, WIDTH, 3).astype(np.uint8)
FRONT, BEHIND = np.zeros((2, *SIZE), bool)
FRONT[2:7, 3:9] = True
BEHIND[4:10, 6:14] = True
TRACKED = Instances.from_masks([FRONT, BEHIND], [0.9, 0.3], [5, 300])
object.__setattr__(TRACKED, "track_ids", np.array([70000, -1]))
MILLIMETRES = np.arange(1000, 1000 + HEIGHT * WIDTH, dtype=np.uint16).reshape(SIZE)


def points_in(depth=MILLIMETRES, unit=1e-3, lens=LENS, stride=1, instances=TRACKED):
    return instance_points(instances, label_image(instances), IMAGE, depth, unit, lens, stride)


def by_hand(y, x, depth=MILLIMETRES):
    """Return what is to be known of a pixel."""
    z = float(depth[y, x]) / 1000
    blue, green, red = (int(value) for value in IMAGE[y, x])
    owner = 0 if FRONT[y, x] else 1
    xyz = ((x - 7.5) / 20 * z, (y - 5.5) / 25 * z, z)
    return (*xyz, red << 16 | green << 8 | blue, (70000, -1)[owner], (5, 300)[owner], owner)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_each_place_on_an_instance_is_a_point_of_the_better_one(stride):
    points = points_in(stride=stride)
    first = stride // 2
    chosen = np.zeros(SIZE, bool)
    chosen[first::stride, first::stride] = True
    wanted = [by_hand(y, x) for y, x in np.argwhere(chosen & (FRONT | BEHIND))]
    assert len(points) == len(wanted) > 0
    for name, column in zip(POINT.names, zip(*wanted, strict=True), strict=True):
        assert points[name].tolist() == pytest.approx(list(column), rel=1e-6), name


def test_metres_and_millimetres_give_the_same_points():
    metres = (MILLIMETRES / 1000).astype(np.float32)
    assert np.allclose(points_in(metres, 1.0)["z"], points_in()["z"])


@pytest.mark.parametrize(
    ("depth", "unit", "unknown"),
    [
        (MILLIMETRES, 1e-3, [0, 65535]),
        (MILLIMETRES.astype(np.float32) / 1000, 1.0, [np.nan, np.inf, 0, -1, FARTHEST]),
    ],
)
def test_pixels_without_depth_have_no_point(depth, unit, unknown):
    for value in unknown:
        lacking = depth.copy()
        lacking[3, 4] = lacking[9, 13] = value
        assert len(points_in(lacking, unit)) == len(points_in()) - 2


def test_depth_of_another_size_is_looked_up_at_the_same_place():
    small = MILLIMETRES[::2, ::2].copy()
    enlarged = small.repeat(2, 0).repeat(2, 1)
    for stride in (1, 3):
        assert np.array_equal(points_in(small, stride=stride), points_in(enlarged, stride=stride))


def test_distortion_is_undone_and_what_the_lens_cannot_see_has_no_point():
    bent = Lens(LENS.focal, LENS.centre, distortion=(0.1, -0.05, 0.0, 0.0, 0.0))
    points = points_in(lens=bent)
    y, x = np.argwhere(FRONT | BEHIND).T
    rays = bent.rays(np.stack([x, y], 1).astype(float))
    assert np.allclose(points["x"] / points["z"], rays[:, 0], atol=1e-6)
    assert not np.allclose(points["x"], points_in()["x"], atol=1e-6)
    blind = Lens((20.0, 25.0), (7.5, 5.5), distortion=(-8.0, 0.0, 0.0, 0.0, 0.0))
    assert 0 < len(points_in(lens=blind)) < len(points)


def test_a_stride_beyond_the_image_takes_its_middle():
    everywhere = Instances.from_masks(np.ones((1, *SIZE), bool), [0.5], [0])
    (point,) = points_in(stride=64, instances=everywhere)
    assert point["z"] == np.float32(MILLIMETRES[6, 6] / 1000)


def test_the_message_says_how_a_point_lies_in_it():
    header = Header(frame_id="camera")
    points = points_in()
    message = points_to_message(points, header)
    assert message.header == header
    assert (message.height, message.width, message.is_bigendian) == (1, len(points), False)
    assert message.row_step == message.point_step * message.width == len(message.data)
    assert message.is_dense
    fields = {field.name: (field.offset, field.datatype, field.count) for field in message.fields}
    assert fields["rgb"] == (12, PointField.FLOAT32, 1)
    packed = struct.unpack_from("<3fIiHH", bytes(message.data), message.point_step)
    assert packed == pytest.approx(by_hand(2, 4), rel=1e-6)
    sizes = {PointField.FLOAT32: "f", PointField.INT32: "i", PointField.UINT16: "H"}
    for name, (offset, datatype, _) in fields.items():
        (value,) = struct.unpack_from(f"<{sizes[datatype]}", bytes(message.data), offset)
        if name != "rgb":
            assert value == points[0][name]


def test_without_instances_there_is_an_empty_cloud():
    message = points_to_message(points_in(instances=Instances.empty(SIZE)), Header())
    assert (message.width, message.height, len(message.data)) == (0, 1, 0)
