import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="no ROS 2 in this environment")
pytest.importorskip("visualization_msgs", reason="visualization_msgs is not installed")

from depth_scenes import LENS, SCENES, view
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from sipmask_core.drawing import GREY, colour
from sipmask_core.motion import Velocities
from sipmask_core.positions import Positions, locate
from sipmask_ros.conversions.markers import THINNEST, positions_to_markers

HEADER = Header(frame_id="camera_optical")
SEEN = view(SCENES[0])
FOUND = locate(SEEN.instances, SEEN.depth, 1e-3, LENS)
NAMES = ("ball",)


def markers(positions=FOUND, velocities=None, instances=SEEN.instances, tracked=True):
    velocities = velocities or Velocities.unknown(len(instances))
    array = positions_to_markers(positions, velocities, instances, HEADER, NAMES, tracked)
    assert all(marker.header == HEADER for marker in array.markers)
    return array.markers


def test_those_of_the_image_before_are_deleted_first():
    assert markers()[0].action == Marker.DELETEALL
    nothing = SEEN.instances[:0]
    assert [m.action for m in markers(Positions.unknown(0), None, nothing)] == [Marker.DELETEALL]


def test_each_known_position_is_a_box_with_a_name():
    velocities = Velocities.unknown(3)
    velocities.values[1] = (0.3, 0, -0.4)
    found = markers(velocities=velocities)[1:]
    boxes = [m for m in found if m.ns == "boxes"]
    assert {m.type for m in boxes} == {Marker.CUBE}
    for box, (low, high) in zip(boxes, FOUND.boxes, strict=True):
        place, size = box.pose.position, box.scale
        assert np.allclose([place.x, place.y, place.z], (low + high) / 2)
        assert np.allclose([size.x, size.y, size.z], high - low)
        assert 0 < box.color.a < 1
    names = [m for m in found if m.ns == "names"]
    assert {m.type for m in names} == {Marker.TEXT_VIEW_FACING}
    metres = [f"{np.linalg.norm(point):.2f} m" for point in FOUND.points]
    assert [m.text for m in names] == [
        f"ball #1\n{metres[0]}",
        f"ball #2\n{metres[1]}, 0.50 m/s",
        f"ball #3\n{metres[2]}",
    ]
    for name, box in zip(names, boxes, strict=True):
        assert name.pose.position.y < box.pose.position.y - box.scale.y / 2, "it is above"
    assert len({(m.ns, m.id) for m in found}) == len(found)


def test_what_is_not_known_has_none_and_what_is_flat_has_some_thickness():
    positions = Positions.unknown(3)
    positions.points[2], positions.boxes[2] = (0, 0, 2), [(-1, -1, 2), (1, 1, 2)]
    _, box, name = markers(positions)
    assert (box.scale.x, box.scale.y, box.scale.z) == (2, 2, THINNEST)
    assert name.text == "ball #3\n2.00 m"


@pytest.mark.parametrize(
    ("track_id", "tracked", "tone"),
    [(7, True, colour(7)), (-1, True, GREY), (-1, False, colour(0))],
)
def test_colours_are_those_of_the_overlay(track_id, tracked, tone):
    instances = SEEN.instances[[0]]
    instances.track_ids[:] = track_id
    _, box, name = markers(FOUND_FIRST, None, instances, tracked)
    assert [round(255 * c) for c in (box.color.b, box.color.g, box.color.r)] == list(tone)
    assert ("#" in name.text) == (track_id >= 0)


FOUND_FIRST = locate(SEEN.instances[[0]], SEEN.depth, 1e-3, LENS)
