import re

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")

from hypothesis import given
from hypothesis import strategies as st
from rclpy.validate_topic_name import validate_topic_name

from sipmask_core.errors import InputError
from sipmask_core.tracking.settings import TrackerSettings
from sipmask_ros.node.parameters import Parameters
from sipmask_ros.parameter_table import Effect, rows

ROWS = {row.name: row for row in rows(Parameters)}


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_topics", "image"),
        ("image_topics", [1]),
        ("transport", "zip"),
        ("reliability", "RELIABLE"),
        ("model", 5),
        ("device", None),
        ("precision", "fp64"),
        ("num_threads", 1.5),
        ("num_threads", -1),
        ("num_threads", 513),
        ("score_threshold", 1.01),
        ("score_threshold", -0.01),
        ("score_threshold", float("nan")),
        ("score_threshold", "0.5"),
        ("score_threshold", True),
        ("classes", "person"),
        ("always_on", 1),
        ("max_rate", -1.0),
        ("max_rate", float("inf")),
        ("max_age", -1.0),
        ("max_age", None),
        ("max_batch", 0),
        ("max_batch", 65),
        ("max_batch", 1.0),
        ("mask_encoding", ""),
        ("depth_topics", 0),
        ("camera_info_topics", True),
        ("depth_tolerance", -0.1),
        ("tracking", "yes"),
        ("track_new_score", 1.5),
        ("track_confirm_after", 0),
        ("track_min_affinity", -0.1),
        ("track_max_lost_seconds", -1.0),
        ("track_max_lost_seconds", float("inf")),
        ("track_max_tracks", 0),
        ("timing", "on"),
        ("autostart", 1),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_what_is_accepted(name, value):
    sentence = f"The parameter {name} is {value!r}; accepted is {ROWS[name].accepted()}."
    with pytest.raises(InputError, match=re.escape(sentence)):
        Parameters(**{name: value})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"image_topics": ()}, "image_topics is empty; give at least one"),
        (
            {"image_topics": ("a", "b", "a")},
            "['a', 'b', 'a']; name each topic once",
        ),
        ({"image_topics": ("/left", "left")}, "image_topics is ['/left', 'left']; name each"),
        ({"image_topics": ("left camera",)}, "image_topics names 'left camera'; accepted are"),
        ({"image_topics": ("",)}, "image_topics names ''"),
        ({"depth_topics": ("9",)}, "depth_topics names '9'"),
        (
            {"depth_topics": ("d", "e")},
            "['d', 'e'] and image_topics is ['image']; give as many",
        ),
        (
            {"camera_info_topics": ("c",)},
            "['c'] and depth_topics is []; give as many",
        ),
        ({"depth_topics": ("d",), "camera_info_topics": ("~/c",)}, "names '~/c'"),
        (
            {"depth_topics": ("d/compressedDepth",)},
            "names 'd/compressedDepth', which carries compressed depth; set depth_transport to",
        ),
    ],
)
def test_values_that_do_not_fit_together_are_refused_with_one_sentence(given, sentence):
    with pytest.raises(InputError) as refused:
        Parameters(**given)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("cameras", [1, 2, 3])
def test_each_camera_may_have_a_depth_topic_and_a_calibration(cameras):
    def topics(kind):
        return tuple(f"/camera_{number}/{kind}" for number in range(cameras))

    Parameters(image_topics=topics("image"), depth_topics=topics("depth"))
    Parameters(
        image_topics=topics("image"),
        depth_topics=topics("depth"),
        camera_info_topics=topics("camera_info"),
    )


@pytest.mark.parametrize("topic", ["/depth/image_raw", "/depth/image_raw/compressedDepth"])
def test_compressed_depth_has_the_calibration_of_its_raw_images(topic):
    parameters = Parameters(depth_topics=(topic,), depth_transport="compressedDepth")
    assert parameters.depth_of("image") == ("/depth/image_raw", "/depth/camera_info")


@given(st.text("ab/_1~{} \n\u00e9\u0661", max_size=8))
def test_what_passes_for_a_topic_is_one_to_ros(topic):
    try:
        Parameters(image_topics=(topic,))
    except InputError:
        return
    assert validate_topic_name(topic)


ANYTHING = st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=3)


@given(st.dictionaries(st.sampled_from(list(ROWS)), ANYTHING | st.lists(st.text(), max_size=3)))
def test_whatever_is_given_is_either_in_range_or_refused(given):
    try:
        parameters = Parameters(**given)
    except InputError:
        return
    assert all(row.checked(getattr(parameters, name)) is not None for name, row in ROWS.items())
    assert parameters.tracker_settings().max_tracks >= 1


def test_what_counts_when_is_as_the_node_applies_it():
    def names(effect):
        return {row.name for row in ROWS.values() if row.effect is effect}

    assert names(Effect.START) == {"autostart"}
    assert names(Effect.RELOAD) == {"model", "device", "precision", "num_threads"}
    assert names(Effect.CONFIGURE) == {
        "image_topics",
        "transport",
        "reliability",
        "depth_topics",
        "depth_transport",
        "camera_info_topics",
        "target_frame",
        "publish_tf",
    }
