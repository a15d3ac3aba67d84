"""Parameters that change while the node runs."""

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from node_harness import Camera, Starter, assert_instances, picture
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from sipmask_ros.msg import Instance

from sipmask_ros.conversions.images import array_to_image

DEFAULTS = {
    "score_threshold": 0.3,
    "classes": [],
    "class_thresholds": [],
    "ignore_zones": [],
    "always_on": False,
    "max_rate": 0.0,
    "max_age": 0.0,
    "mask_encoding": "mono8",
    "tracking": True,
    "track_confirm_after": 3,
    "track_max_lost_seconds": 1.5,
    "timing": False,
    "image_bits": 0,
}


@pytest.fixture(scope="module")
def starter(ros, tmp_path_factory):
    starter = Starter(tmp_path_factory.mktemp("live"))
    yield starter
    starter.end()


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """Return the file with a line for each time that the predictor was called."""
    return tmp_path_factory.mktemp("calls") / "calls"


@pytest.fixture(scope="module")
def node(starter, calls):
    return starter.node(environment={"SCRIPTED_CALLS": str(calls)})[0]


@pytest.fixture
def camera(node):
    """Offer a camera on the node, which afterwards has its default parameters again."""
    yield node
    assert not node.set(**DEFAULTS)


def ask(camera, seed=0):
    return camera.answer(camera.image(picture(seed)))


def names(answer):
    return [instance.class_name for instance in answer.instances]


def later(camera, seconds):
    """Return the instances in an image this many seconds after one of the present."""
    message = camera.image(picture())
    message.header.stamp.sec += seconds
    return camera.answer(message).instances


def test_while_nobody_listens_nothing_is_computed_and_the_first_subscriber_wakes_the_node(
    camera, calls
):
    def computed():
        return len(calls.read_text().splitlines())

    ask(camera)
    camera.stop_listening()
    camera.wait(lambda: camera.counts["instances_subscribers"] == "0")
    before, at_work = camera.final_counts(), computed()
    camera.send(camera.image(picture()))
    camera.wait_for_counts(received=before["received"] + 1, in_progress=0)
    assert (camera.level, camera.message) == (DiagnosticStatus.OK, "idle, nobody subscribes")
    camera.wait_for_counts(dropped_idle=before["dropped_idle"] + 1, segmented=before["segmented"])
    assert computed() == at_work

    assert not camera.set(always_on=True)
    camera.send(camera.image(picture()))
    camera.wait_for_counts(segmented=before["segmented"] + 1)
    assert computed() == at_work + 1
    assert not camera.set(always_on=False)

    overlays = []
    subscription = camera.subscribe(Image, "overlay", overlays)

    def overlay_came():
        camera.send(camera.image(picture()))
        return overlays

    camera.wait(overlay_came)
    camera.destroy_subscription(subscription)
    camera.listen()
    camera.wait_for_connection()
    assert_instances(ask(camera), picture())


def test_the_score_threshold_reaches_the_predictor(camera):
    assert names(ask(camera)) == ["person", "dog"]
    assert not camera.set(score_threshold=0.7)
    assert names(ask(camera)) == ["person"]
    assert not camera.set(score_threshold=1)
    assert names(ask(camera)) == []


def test_only_the_classes_wanted_are_reported_and_an_unknown_one_is_refused(camera):
    assert not camera.set(classes=["dog"])
    assert names(ask(camera)) == ["dog"]
    (reason,) = camera.set(classes=["dog", "gryphon"])
    assert reason == "classes has 'gryphon'; scripted knows person, dog."
    assert camera.get("classes") == ["dog"]
    assert names(ask(camera)) == ["dog"]
    assert not camera.set(classes=[])
    assert names(ask(camera)) == ["person", "dog"]


def test_classes_have_thresholds_of_their_own_from_which_the_model_delivers(camera):
    assert not camera.set(score_threshold=0.7, class_thresholds=["dog:0.5"])
    assert names(ask(camera)) == ["person", "dog"]
    assert not camera.set(class_thresholds=["person:0.95", "dog:0.5"])
    assert names(ask(camera)) == ["dog"]
    (reason,) = camera.set(class_thresholds=["gryphon:0.5"])
    assert reason == "class_thresholds has 'gryphon'; scripted knows person, dog."
    (reason,) = camera.set(class_thresholds=["dog:5"])
    assert reason.startswith("class_thresholds has 'dog:5'; accepted are")
    assert not camera.set(class_thresholds=[])
    assert names(ask(camera)) == ["person"]


def test_what_lies_in_an_ignored_zone_is_dropped_before_it_gets_a_track(camera):
    image = np.zeros((48, 64, 3), np.uint8)
    image[4:12, 4:12, 0] = image[30:40, 40:60, 2] = 255
    camera.trigger("reset_tracks")
    assert not camera.set(ignore_zones=["image: 0,0 1,0 1,0.3 0,0.3"])
    assert names(camera.answer(camera.image(image))) == ["dog"]
    assert not camera.set(ignore_zones=["0.5,0.5 1,0.5 1,1 0.5,1"])
    (person,) = camera.answer(camera.image(image)).instances
    assert (person.class_name, person.track_age) == ("person", 0)
    (reason,) = camera.set(ignore_zones=["rear: 0,0 1,0 1,1"])
    assert "'rear' is none of image_topics, image" in reason
    (reason,) = camera.set(ignore_zones=["image: 0,0 1,0"])
    assert reason.startswith("ignore_zones has 'image: 0,0 1,0'; accepted are")
    assert not camera.set(ignore_zones=[])
    assert names(camera.answer(camera.image(image))) == ["person", "dog"]


def test_an_unknown_class_is_refused_at_configure_with_one_sentence(starter):
    manager = starter.manager(autostart="false", classes="[gryphon]")
    configure = Transition(id=Transition.TRANSITION_CONFIGURE)
    assert not manager.call("change_state", transition=configure).success
    line, *more = manager.process.output.splitlines()
    assert not more
    assert "classes has 'gryphon'; scripted knows person, dog." in line
    assert not manager.set(classes=["dog"])
    manager.transition(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)


def test_a_rate_limit_drops_what_comes_too_soon_and_counts_it(camera):
    before = camera.final_counts()
    assert not camera.set(max_rate=0.001)
    ask(camera)
    camera.send(camera.image(picture()))
    camera.wait_for_counts(dropped_rate=before["dropped_rate"] + 1)
    assert not camera.set(max_rate=0.0)
    ask(camera)
    after = camera.final_counts()
    assert after["received"] - before["received"] == 3
    assert after["segmented"] - before["segmented"] == 2


def test_tracking_masks_and_ages_change_from_the_next_image_on(camera):
    assert not camera.set(mask_encoding="rle", tracking=False)
    answer = ask(camera)
    assert answer.mask_encoding == "rle"
    assert_instances(answer, picture())
    assert [instance.track_state for instance in answer.instances] == [Instance.TRACK_NONE] * 2

    assert not camera.set(tracking=True, track_confirm_after=1, track_max_lost_seconds=100)
    camera.trigger("reset_tracks")
    seen = later(camera, 0)
    assert [instance.track_state for instance in seen] == [Instance.TRACK_CONFIRMED] * 2
    ids = [instance.track_id for instance in seen]
    assert [instance.track_id for instance in later(camera, 60)] == ids
    assert not camera.set(track_max_lost_seconds=1.0)
    assert [instance.track_id for instance in later(camera, 120)] != ids

    before = camera.final_counts()
    assert not camera.set(max_age=1000.0, timing=True)
    old = camera.image(picture())
    old.header.stamp.sec -= 2000
    camera.send(old)
    camera.wait_for_counts(dropped_stale=before["dropped_stale"] + 1)
    ask(camera)
    camera.wait(lambda: "network_mean_ms" in camera.counts)


def test_a_refused_change_leaves_everything_as_it_was(camera):
    for change, sentence in (
        ({"score_threshold": 2.0}, "The parameter score_threshold is 2.0"),
        ({"max_rate": -1.0}, "The parameter max_rate is -1.0"),
        ({"mask_encoding": "png"}, "The parameter mask_encoding is 'png'"),
        ({"tracking": 1}, "The parameter tracking is 1"),
        ({"autostart": False}, "autostart"),
    ):
        (name,) = change
        value = camera.get(name)
        (reason,) = camera.set(**change)
        assert sentence in reason
        assert camera.get(name) == value

    wanted = [Parameter("score_threshold", value=0.7), Parameter("classes", value=["gryphon"])]
    result = camera.call(
        "set_parameters_atomically",
        parameters=[parameter.to_parameter_msg() for parameter in wanted],
    ).result
    assert not result.successful
    assert camera.get("score_threshold") == 0.3
    assert names(ask(camera)) == ["person", "dog"]


def test_a_change_that_counts_later_says_when(camera):
    def say(**values):
        changes = [
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()
        ]
        results = camera.call("set_parameters", parameters=changes).results
        assert all(result.successful for result in results)
        together = camera.call("set_parameters_atomically", parameters=changes).result
        assert together.reason == " ".join(r.reason for r in results if r.reason)
        return [result.reason for result in results]

    assert say(reliability="auto", score_threshold=0.4, num_threads=1) == [
        "reliability takes effect at the next configure.",
        "",
        "num_threads takes effect at the next configure or ~/reload_model.",
    ]
    assert camera.set(reliability="reliable", num_threads=0) == []


def test_images_of_12_bits_are_seen_as_bright_as_they_are_meant(camera):
    values = np.zeros((48, 64), np.uint16)
    values[10:20, 10:30] = 4095

    def found():
        return len(camera.answer(array_to_image(values, "mono16", camera.header())).instances)

    assert found() == 2
    assert not camera.set(image_bits=16)
    assert found() == 0
    assert not camera.set(image_bits=12)
    assert found() == 2
    assert "the 16-bit images use 12 bits so far" in camera.process.output


def test_other_changes_count_from_the_next_configure_on(camera, starter):
    assert not camera.set(image_topics=["other"])
    assert_instances(ask(camera), picture())
    camera.transition(
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
    )
    other = starter.add(Camera(camera.process, camera.get_namespace(), topic="other"))
    # Both listen to what is said of either.
    other.wait_for_connection(subscribers=2)
    assert_instances(other.answer(other.image(picture(1))), picture(1))
