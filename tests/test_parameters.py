from dataclasses import asdict, fields
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rcl_interfaces", reason="no ROS 2 in this environment")

from sipmask_core.errors import InputError
from sipmask_core.online_tracker import TrackerSettings
from sipmask_ros.parameters import Parameters, accepted, checked

CONFIG = Path(__file__).parents[1] / "config" / "segmentation.yaml"


def test_the_shipped_parameter_file_says_what_the_defaults_are():
    written = yaml.safe_load(CONFIG.read_text())["segmentation_node"]["ros__parameters"]
    assert written == asdict(Parameters())


def test_the_tracker_s_parameters_reach_it_and_default_to_its_own():
    assert Parameters().tracker_settings() == TrackerSettings()
    changed = Parameters(
        track_new_score=0.6,
        track_confirm_after=5,
        track_min_affinity=0.2,
        track_max_lost_seconds=9.0,
        track_max_tracks=7,
    ).tracker_settings()
    assert changed == TrackerSettings(0.6, 5, 0.2, 9.0, 7)


@pytest.mark.parametrize("name", [f.name for f in fields(Parameters)])
def test_every_default_is_accepted_and_described(name):
    default = getattr(Parameters(), name)
    assert checked(name, default) == default
    assert accepted(name)


def test_an_integer_passes_for_a_number():
    value = checked("max_age", 1)
    assert value == 1.0
    assert type(value) is float


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("score_threshold", 1.01),
        ("score_threshold", -0.01),
        ("score_threshold", float("nan")),
        ("score_threshold", "0.5"),
        ("score_threshold", True),
        ("num_threads", 1.5),
        ("num_threads", -1),
        ("autostart", 1),
        ("model", 5),
        ("transport", "zip"),
        ("reliability", "RELIABLE"),
        ("mask_encoding", ""),
        ("max_age", -1.0),
        ("max_age", None),
        ("tracking", "yes"),
        ("track_new_score", 1.5),
        ("track_confirm_after", 0),
        ("track_min_affinity", -0.1),
        ("track_max_lost_seconds", -1.0),
        ("track_max_tracks", 0),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_what_is_accepted(name, value):
    with pytest.raises(InputError) as refused:
        checked(name, value)
    assert name in str(refused.value)
    assert repr(value) in str(refused.value)
    assert accepted(name) in str(refused.value)
