from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.srv", reason="the services are not built")

from depth_scenes import SCENES, view
from sipmask_ros.srv import Follow
from std_msgs.msg import Header

from sipmask_core.errors import InputError
from sipmask_core.instances import TrackState
from sipmask_core.positions import Positions
from sipmask_ros.conversions.placement import Placement
from sipmask_ros.node.follower import Follower

SEEN = view(SCENES[0])  # tracks 1, 2 and 3, from near to far


def scene(shown=(0, 1, 2), labels=(0, 0, 1), state=TrackState.CONFIRMED, placed=True):
    """Return what a Follower needs of a scene that shows some of the three tracks."""
    instances = SEEN.instances[list(shown)]
    instances.labels[:] = np.array(labels)[list(shown)]
    instances.track_states[:] = state
    positions = Positions.unknown(len(shown))
    positions.points[:] = SEEN.points[list(shown)]
    header = Header(frame_id="camera")
    return SimpleNamespace(
        percept=SimpleNamespace(instances=instances, header=header),
        positions=positions,
        class_names=("ball", "cup"),
        placement=Placement.itself(header) if placed else None,
    )


@pytest.fixture
def living():
    return {1, 2, 3}


@pytest.fixture
def follower(living):
    return Follower(SimpleNamespace(living=living), lambda header: 0.125)


def choose(follower, scene=None, **request):
    return follower.choose(Follow.Request(**request), scene)


def test_the_nearest_of_a_class_is_followed(follower):
    assert choose(follower, scene(), class_name="ball") == (
        f"Track 1 is followed, the nearest ball, {np.linalg.norm(SEEN.points[0]):.2f} m away."
    )
    assert choose(follower, scene((1, 2)), class_name="ball").startswith("Track 2 is followed")
    assert choose(follower, scene(), class_name="cup").startswith("Track 3 is followed")
    assert follower.track_id == 3


def test_a_track_is_followed_by_its_id_also_while_it_is_hidden(follower):
    assert choose(follower, scene((0,)), track_id=2, class_name="cup") == "Track 2 is followed."
    assert follower.pose(scene((0,))) is None
    point = follower.pose(scene()).pose.position
    assert np.allclose([point.x, point.y, point.z], SEEN.points[1])


def test_an_empty_request_ends_it(follower):
    choose(follower, track_id=2)
    assert choose(follower) == "Nothing is followed."
    assert follower.pose(scene()) is None
    assert follower.facts(scene()) == {}


@pytest.mark.parametrize(
    ("request_", "last", "sentence"),
    [
        ({"track_id": 9}, scene(), "There is no track 9; there are 1, 2, 3."),
        ({"track_id": -5}, scene(), "There is no track -5; there are 1, 2, 3."),
        ({"class_name": "dog"}, scene(), "class_name is 'dog'; the model knows ball, cup."),
        ({"class_name": "ball"}, None, "No image was segmented yet"),
        ({"class_name": "cup"}, scene((0,)), "The last image shows no confirmed track of class 'c"),
        ({"class_name": "ball"}, scene(state=TrackState.NEW), "The last image shows no confirmed"),
        ({"class_name": "ball"}, scene(()), "The last image shows no confirmed"),
    ],
)
def test_what_is_not_there_is_refused_and_all_stays_as_it_was(follower, request_, last, sentence):
    choose(follower, track_id=2)
    with pytest.raises(InputError) as refusal:
        choose(follower, last, **request_)
    assert str(refusal.value).startswith(sentence)
    assert follower.track_id == 2


def test_it_is_silent_while_the_place_is_not_known(follower):
    choose(follower, track_id=2)
    assert follower.pose(scene(placed=False)) is None
    without_depth = scene()
    without_depth.positions = Positions.unknown(3)
    assert follower.pose(without_depth) is None


def test_diagnostics_say_whether_it_is_seen_hidden_or_lost_and_how_late_it_comes(follower, living):
    choose(follower, track_id=2)
    assert follower.facts(scene())["target_rate_hz"] == "0.0"
    follower.pose(scene())
    facts = follower.facts(scene())
    assert float(facts.pop("target_rate_hz")) > 0
    assert facts == {
        "target_track": "2",
        "target_state": "seen",
        "target_latency_p50_ms": "125.0",
        "target_latency_p99_ms": "125.0",
    }
    assert follower.facts(scene((0,)))["target_state"] == "hidden"
    assert not follower.is_lost
    living.discard(2)
    assert follower.is_lost
    assert follower.facts(scene((0,)))["target_state"] == "lost"
