"""What goes wrong around a running node, and what it does then."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from diagnostic_msgs.msg import DiagnosticStatus
from inside import subscriber_count
from lifecycle_msgs.msg import Transition
from node_harness import Starter, assert_instances, picture
from ros_harness import ROOT
from scripted_node import GREEN
from sensor_msgs.msg import Image

from sipmask_core.inference.predictor import PRETRAINED
from sipmask_ros.conversions.images import array_to_image, image_to_bgr
from sipmask_ros.node.diagnostics import INACTIVE, Outcome

SECOND = 10**9
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

pytestmark = pytest.mark.usefixtures("ros")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def shared(ros, folder):
    """Offer a camera on one node, which each test leaves at work with open gates."""
    for gate in ("gate", "loading"):
        (folder / gate).touch()
    starter = Starter(folder)
    yield starter.node(
        environment={
            "SCRIPTED_GATE": str(folder / "gate"),
            "SCRIPTED_LOADING": str(folder / "loading"),
        }
    )[0]
    starter.end()


def at(nanoseconds, message):
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(nanoseconds, SECOND)
    return message


def ids(answer):
    return [instance.track_id for instance in answer.instances]


def green(size=(48, 64)):
    return np.full((*size, 3), GREEN, np.uint8)


def outcomes(counts):
    """Return for how many images the counts give an outcome."""
    return sum(counts[outcome.value] for outcome in Outcome)


def follow(camera, nanoseconds):
    """Return the ids in a picture with this stamp."""
    return ids(camera.answer(at(nanoseconds, camera.image(picture()))))


def wait_for_answers(camera):
    """Send until the node, which may not be there yet, answers; then each image must be answered.

    Its diagnostics would not tell: they count who was killed for some seconds more.
    """
    camera.received.clear()

    def answered():
        camera.send(camera.image(picture(1)))
        return camera.received

    camera.wait(answered)
    assert_instances(camera.answer(camera.image(picture(2))), picture(2))


# The camera


def test_a_camera_that_stops_is_missed_and_its_ids_go_on_when_it_comes_back(shared):
    began = 1000 * SECOND
    before = follow(shared, began)
    shared.wait(lambda: (shared.level, shared.message) == (WARN, "no images"))
    assert follow(shared, began + SECOND) == before
    shared.wait(lambda: (shared.level, shared.message) == (OK, "segmenting"))

    shared.unplug()
    shared.wait(lambda: shared.counts["image_publishers"] == "0")
    shared.plug_in()
    shared.wait_for_connection()
    assert follow(shared, began + 2 * SECOND) == before, "another publisher on the same topic"
    assert not set(follow(shared, began + 4 * SECOND)) & set(before), "unseen for too long"


def test_a_camera_that_restarts_with_another_size_or_encoding_goes_on(shared):
    small = picture()
    last = set()
    for pixels in (small, picture(size=(96, 128)), small):
        answer = shared.answer(shared.image(pixels))
        assert_instances(answer, pixels)
        assert not last & set(ids(answer)), "in an image of another size nothing is where it was"
        last = set(ids(answer))
    for encoding, values in (("rgb8", small[..., ::-1]), ("mono8", small.max(axis=2))):
        message = array_to_image(values, encoding, shared.header())
        assert_instances(shared.answer(message), image_to_bgr(message))


@pytest.mark.parametrize(
    ("stamps", "survive"),
    [
        pytest.param([0, 0, 0], True, id="none"),
        pytest.param([5000 * SECOND] * 3, True, id="equal"),
        pytest.param([6000 * SECOND, 100 * SECOND, 100 * SECOND + 1], True, id="a recording loops"),
        pytest.param([7000 * SECOND, 2**31 * SECOND - 1], False, id="far into the future"),
        pytest.param([-5 * SECOND, -4 * SECOND], True, id="before 1970"),
    ],
)
def test_odd_stamps_are_copied_and_ids_survive_unless_much_time_has_passed(shared, stamps, survive):
    shared.trigger("reset_tracks")
    seen = [follow(shared, stamp) for stamp in stamps]
    assert len(seen[0]) == 2
    assert (seen[0] == seen[-1]) == survive
    counts = shared.final_counts()
    assert counts["received"] == outcomes(counts)


def test_a_camera_killed_at_work_is_replaced_by_the_next(start):
    camera, _ = start.node()
    camera.unplug()
    for _ in range(2):
        camera.received.clear()
        source = start.run(
            *("-m", "sipmask_ros.camera.camera_source", "--ros-args"),
            *("-r", f"__ns:={camera.get_namespace()}"),
            *("-p", "width:=64", "-p", "height:=48", "-p", "rate:=20.0"),
        )
        camera.wait(lambda: len(camera.received) > 2)
        source.end()
    camera.plug_in()
    assert_instances(camera.answer(camera.image(picture())), picture())


# Who listens


def test_a_subscriber_that_stops_reading_or_is_killed_stops_nobody_else(start, shared):
    listener = start.run(ROOT / "tests" / "helpers" / "listening_node.py", shared.get_namespace())
    shared.wait(lambda: shared.counts["instances_subscribers"] == "2")
    os.kill(listener.pid, signal.SIGSTOP)
    for number in range(100):
        image = picture(number, size=(240, 320))
        assert_instances(shared.answer(shared.image(image)), image)
    listener.end()
    for number in range(20):
        assert_instances(shared.answer(shared.image(picture(number))), picture(number))


# The predictor


def test_a_predictor_that_fails_is_an_error_until_it_works_again(shared):
    before = shared.final_counts()

    def fails():
        shared.send(shared.image(green()))
        return (shared.level, shared.message) == (ERROR, "segmentation fails")

    shared.wait(fails)
    assert "the script says so" in shared.process.output

    def works():
        shared.answer(shared.image(picture()))
        return (shared.level, shared.message) == (OK, "segmenting")

    shared.wait(works)
    after = shared.final_counts()
    assert after["dropped_failed"] > before["dropped_failed"]
    assert after["received"] == outcomes(after)


def test_a_picture_that_cannot_be_drawn_costs_the_picture_alone(shared):
    overlays = []
    subscription = shared.subscribe(Image, "overlay", overlays)
    image = picture()
    image[0, 0] = GREEN

    def complained():
        assert_instances(shared.answer(shared.image(image)), image)
        return "the picture cannot be drawn" in shared.process.output

    shared.wait(complained)
    assert not overlays

    def drawn():
        shared.answer(shared.image(picture()))
        return overlays

    shared.wait(drawn)
    shared.destroy_subscription(subscription)


# The model


@pytest.mark.parametrize("fault", ["gone", "truncated", "of another content"])
def test_a_model_that_cannot_be_loaded_leaves_the_old_one_at_work(shared, tmp_path, fault):
    path = tmp_path / "model.safetensors"
    if fault == "truncated":
        path.write_bytes(Path(PRETRAINED).read_bytes()[:100_000])
    elif fault == "of another content":
        path.write_text("learning_rate: 0.1\n")
    assert not shared.set(model=str(path))
    answer = shared.trigger("reload_model")
    assert not answer.success
    assert "model.safetensors" in answer.message
    assert answer.message.count("\n") == 0
    assert shared.answer(shared.image(picture())).model == "scripted"
    shared.set(model="")


def begin_to_reload(camera):
    """Ask twice at once: one request loads a model, and comes back, the other is refused."""
    futures = [camera.begin("reload_model") for _ in range(2)]
    camera.wait(lambda: any(future.done() for future in futures))
    loading, refused = sorted(futures, key=lambda future: future.done())
    assert not loading.done()
    assert not refused.result().success
    assert "Another model is being loaded" in refused.result().message
    return loading


def test_a_reload_loses_no_image(shared, folder):
    before = shared.final_counts()
    answered = len(shared.received)
    shared.set(model=str(PRETRAINED))
    (folder / "loading").unlink()
    future = begin_to_reload(shared)
    for _ in range(10):
        assert shared.answer(shared.image(picture())).model == "scripted"
    assert not future.done()

    (folder / "loading").touch()

    def reloaded():
        shared.answer(shared.image(picture()))
        return future.done()

    shared.wait(reloaded)
    assert future.result().success, future.result().message
    assert shared.answer(shared.image(picture())).model != "scripted"
    after = shared.final_counts()
    segmented = after["segmented"] - before["segmented"]
    assert segmented == after["received"] - before["received"]
    assert segmented == len(shared.received) - answered

    shared.set(model="")
    assert shared.trigger("reload_model").success
    assert shared.answer(shared.image(picture())).model == "scripted"


def test_a_reload_gives_new_ids_because_the_models_classes_may_mean_other_things(shared):
    before = follow(shared, 9000 * SECOND)
    assert follow(shared, 9000 * SECOND + 1) == before
    assert shared.trigger("reload_model").success
    assert not set(follow(shared, 9000 * SECOND + 2)) & set(before)


def test_a_reload_works_in_every_state_that_has_a_model(shared, folder):
    shared.transition(Transition.TRANSITION_DEACTIVATE)
    assert shared.trigger("reload_model").success
    (folder / "loading").unlink()
    future = begin_to_reload(shared)
    shared.transition(Transition.TRANSITION_CLEANUP)
    (folder / "loading").touch()
    shared.wait(future.done)
    assert not future.result().success
    assert "cleaned up" in future.result().message
    answer = shared.trigger("reload_model")
    assert (answer.success, answer.message) == (False, "The node is not configured.")
    shared.transition(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    wait_for_answers(shared)


# The process


def test_a_transition_that_fails_is_explained_and_leaves_the_node_as_before_configure(start):
    manager = start.manager(
        autostart="false", transport="compressed", depth_topics="[image/compressed]"
    )
    manager.transition(Transition.TRANSITION_CONFIGURE)
    activate = Transition(id=Transition.TRANSITION_ACTIVATE)
    assert not manager.call("change_state", transition=activate).success
    said = manager.process.output
    assert "The transition failed" in said
    assert "incompatible type" in said, "one topic cannot have two"
    assert manager.trigger("reload_model").message == "The node is not configured."
    assert not manager.set(transport="raw")
    manager.transition(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    assert manager.count_publishers("segmentation_node/instances") == 1


def test_while_simulated_time_stands_still_the_node_works_and_its_counts_are_told(start):
    camera, _ = start.node(use_sim_time="true")
    assert_instances(camera.answer(camera.image(picture())), picture())
    camera.send(camera.image(green()))
    camera.wait_for_counts(segmented=1, dropped_failed=1)
    camera.transition(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    camera.wait(lambda: camera.message == INACTIVE)


def test_after_a_kill_the_next_process_serves_the_same_camera_and_subscribers(start):
    camera, process = start.node()
    camera.answer(camera.image(picture()))
    process.signal(signal.SIGKILL)
    camera.process, _ = start.process(namespace=camera.get_namespace())
    wait_for_answers(camera)


def test_two_nodes_of_one_name_both_work_and_say_so_once(start, shared):
    other, _ = start.process(namespace=shared.get_namespace())
    for process in (shared.process, other):
        shared.wait(lambda process=process: "Another node is called" in process.output)

    sent = []

    def both_answered():
        # The second may not have found the camera, nor the camera the second, by now.
        sent.append(shared.send(shared.image(picture())))
        headers = [answer.header for answer in shared.received]
        return any(headers.count(header) == 2 for header in sent)

    shared.wait(both_answered)
    other.signal(signal.SIGTERM)
    assert other.output.count("Another node is called") == 1
    assert_instances(shared.answer(shared.image(picture(1))), picture(1))


def executable(folder):
    """Return the program that `ros2 run` starts, as the build makes it."""
    template = (ROOT / "cmake" / "executable.py.in").read_text()
    program = folder / "segmentation_node"
    program.write_text(template.replace("@node@", "segmentation_node"))
    return program


def handles_signals(process):
    """Return whether Python has taken SIGTERM over; until then, it ends any process in silence."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return int(caught, 16) >> (signal.SIGTERM - 1) & 1


def importing(start, tmp_path):
    process, _ = start.process(program=[executable(tmp_path)])
    while not handles_signals(process):
        assert process.running
    return process


def unconfigured(start, tmp_path):
    manager = start.manager(autostart="false")
    assert not manager.trigger("reset_tracks").success
    return manager.process


def loading(start, tmp_path):
    environment = {"SCRIPTED_LOADING": str(tmp_path / "never")}
    manager = start.manager(autostart="false", environment=environment)
    manager.begin("change_state", transition=Transition(id=1))
    manager.wait(lambda: (tmp_path / "never.waiting").exists())
    return manager.process


def inactive(start, tmp_path):
    manager = start.manager(autostart="false")
    manager.transition(Transition.TRANSITION_CONFIGURE)
    return manager.process


def deactivating(start, tmp_path):
    camera, process = start.node(environment={"SCRIPTED_GATE": str(tmp_path / "never")})
    camera.send(camera.image(picture()))
    camera.wait_for_counts(in_progress=1)
    camera.begin("change_state", transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
    camera.wait(lambda: subscriber_count(camera) == 0)
    return process


def reloading(start, tmp_path):
    gate = tmp_path / "gate"
    gate.touch()
    camera, process = start.node(environment={"SCRIPTED_LOADING": str(gate)})
    gate.unlink()
    begin_to_reload(camera)
    return process


def cleaned_up(start, tmp_path):
    manager = start.manager(autostart="false")
    manager.transition(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP)
    return manager.process


@pytest.mark.parametrize(
    "state",
    [importing, unconfigured, loading, inactive, deactivating, reloading, cleaned_up],
    ids=lambda state: state.__name__,
)
def test_a_signal_ends_the_node_quietly_whatever_it_does(start, tmp_path, state):
    process = state(start, tmp_path)
    code, seconds = process.signal(signal.SIGINT)
    assert code == 0, process.output
    assert seconds < 10, "two seconds are promised; a busy machine gets some more"
    assert "Traceback" not in process.output
    assert "terminate" not in process.output
