import signal
from array import array
from pathlib import Path

import cv2
import numpy as np
import pytest
from places import DATA

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from lifecycle_msgs.msg import Transition
from node_harness import RELIABLE, Manager, Starter, assert_instances, picture
from scripted_node import expected
from sensor_msgs.msg import CompressedImage, Image
from sipmask_ros.msg import Instance
from std_msgs.msg import Header

import sipmask_core as sm
import sipmask_core.inference.predictor
from sipmask_ros.conversions.images import ENCODINGS, array_to_image, image_to_bgr
from sipmask_ros.conversions.instances import message_to_instances

REAL = ("-m", "sipmask_ros.node.segmentation_node")

pytestmark = pytest.mark.usefixtures("ros")


@pytest.fixture(scope="module")
def shared(ros, tmp_path_factory):
    """Offer a camera on one node with default parameters, for tests that leave it as it was."""
    starter = Starter(tmp_path_factory.mktemp("shared"))
    yield starter.node()[0]
    starter.end()


def test_masks_with_holes_and_overlaps_arrive_as_the_predictor_gave_them(shared):
    image = picture()
    masks = expected(image).masks
    assert (masks[0] & masks[1]).any(), "the shapes should overlap"
    answer = shared.answer(shared.image(image))
    assert answer.model == "scripted"
    assert answer.mask_encoding == "mono8"
    assert_instances(answer, image)


def test_the_header_is_copied_verbatim(shared):
    message = shared.image(picture())
    message.header.stamp.nanosec = 123456789
    assert shared.answer(message).header == message.header


def test_an_image_without_a_stamp_is_segmented(shared):
    message = array_to_image(picture(), "bgr8", Header(frame_id="unstamped"))
    assert_instances(shared.answer(message), picture())


def test_an_empty_scene_gives_an_empty_array(shared):
    answer = shared.answer(shared.image(np.zeros((48, 64, 3), np.uint8)))
    assert list(answer.instances) == []
    assert (answer.height, answer.width) == (48, 64)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_passes_with_padded_rows(shared, encoding):
    height, width, padding = 48, 64, 16
    known = ENCODINGS[encoding]
    row = width * known.channels * np.dtype(known.dtype).itemsize
    values = np.random.default_rng(1).integers(
        0, 256, (int(height * known.rows), row + padding), np.uint8
    )
    message = Image(header=shared.header(), height=height, width=width, encoding=encoding)
    message.step = row + padding
    message.data = array("B", values.tobytes())
    assert_instances(shared.answer(message), image_to_bgr(message))


def test_real_video_frames_pass(shared):
    frames = sorted((DATA / "davis_schoolgirls").rglob("*.jpg"))[:5]
    if not frames:
        pytest.skip(f"no frames in {DATA / 'davis_schoolgirls'}")
    for frame in frames:
        image = cv2.imread(str(frame))
        assert_instances(shared.answer(shared.image(image)), image)


def test_overlay_and_label_image_come_while_someone_subscribes(shared):
    overlays, labels = [], []
    subscriptions = [
        shared.create_subscription(Image, f"segmentation_node/{name}", into.append, RELIABLE)
        for name, into in (("overlay", overlays), ("label_image", labels))
    ]
    image = picture(3)
    headers = []

    def both_came():
        headers.append(shared.answer(shared.image(image)).header)
        return overlays and labels

    shared.wait(both_came)
    assert overlays[0].header in headers
    assert overlays[0].encoding == "bgr8"
    assert image_to_bgr(overlays[0]).shape == image.shape
    assert not np.array_equal(image_to_bgr(overlays[0]), image)
    assert labels[0].header in headers
    assert labels[0].encoding == "mono16"
    values = np.frombuffer(labels[0].data, np.uint16).reshape(image.shape[:2])
    assert np.array_equal(values > 0, expected(image).masks.any(0))
    for subscription in subscriptions:
        shared.destroy_subscription(subscription)


def test_run_length_masks_decode_to_the_same_pixels(start):
    camera, _ = start.node(mask_encoding="rle")
    answer = camera.answer(camera.image(picture()))
    assert answer.mask_encoding == "rle"
    assert_instances(answer, picture())


def test_compressed_images_are_decoded(start):
    camera, _ = start.node(image_type=CompressedImage, transport="compressed")
    data = array("B", cv2.imencode(".png", picture())[1].tobytes())
    message = CompressedImage(header=camera.header(), format="png", data=data)
    assert_instances(camera.answer(message), picture())


def test_broken_images_give_one_throttled_warning_and_the_node_lives_on(start):
    camera, process = start.node()
    kinds = [
        {"data": array("B", bytes(17))},
        {"height": 0, "data": array("B")},
        {"encoding": "bgr9"},
    ]
    sent = 0

    def enough_were_refused():
        nonlocal sent
        broken = camera.image(picture())
        for name, value in kinds[sent % len(kinds)].items():
            setattr(broken, name, value)
        camera.send(broken)
        sent += 1
        return int(camera.counts.get("dropped_broken", 0)) >= 20

    camera.wait(enough_were_refused)
    warnings = process.output.count("An image was dropped")
    assert 1 <= warnings < 20, "one in five seconds"
    assert_instances(camera.answer(camera.image(picture())), picture())


def test_the_stages_of_a_timed_node_add_up_to_its_latency(start):
    camera, _ = start.node(timing="true")
    green = np.zeros((48, 64, 3), np.uint8)
    green[..., 1] = 255
    unstamped = array_to_image(picture(), "bgr8", Header(frame_id="unstamped"))
    camera.answer(unstamped)
    camera.send(camera.image(green))
    camera.wait_for_counts(received=2, segmented=1, dropped_failed=1)
    assert not any(key.endswith("_mean_ms") for key in camera.counts), "neither has a latency"

    camera.answer(camera.image(picture()))
    camera.wait_for_counts(segmented=2)
    means = {
        key.removesuffix("_mean_ms"): float(value)
        for key, value in camera.counts.items()
        if key.endswith("_mean_ms")
    }
    stages = ["receive", "wait", "decode", "network", "track", "message", "other"]
    assert list(means) == stages
    assert min(means.values()) >= 0
    # Each is rounded to a microsecond, the latency to a tenth of a millisecond.
    assert sum(means.values()) == pytest.approx(float(camera.counts["latency_p50_ms"]), abs=0.06)


def test_a_node_that_is_not_timed_tells_no_stages(shared):
    shared.answer(shared.image(picture()))
    shared.wait(lambda: "latency_p50_ms" in shared.counts)
    assert not any(key.endswith("_mean_ms") for key in shared.counts)


def tracks(message):
    return [(i.track_id, i.track_state, i.track_age) for i in message.instances]


def test_objects_keep_their_ids_while_the_stamps_are_near_and_until_a_reset(start):
    camera, _ = start.node()

    def answer(seconds_later):
        message = camera.image(picture())
        now = answer.last = answer.last + seconds_later
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(round(now * 1e9), 10**9)
        return tracks(camera.answer(message))

    answer.last = 1e9
    new, confirmed = Instance.TRACK_NEW, Instance.TRACK_CONFIRMED
    assert answer(0) == [(0, new, 0), (1, new, 0)]
    assert answer(0.1) == [(0, new, 1), (1, new, 1)]
    assert answer(0.1) == [(0, confirmed, 2), (1, confirmed, 2)]
    assert answer(1.0) == [(0, confirmed, 3), (1, confirmed, 3)], "frames in between were dropped"
    assert answer(60) == [(2, new, 0), (3, new, 0)]

    assert camera.trigger("reset_tracks").success
    assert answer(0.1) == [(4, new, 0), (5, new, 0)]


def test_no_id_comes_twice_while_the_node_lives(start):
    camera, _ = start.node()
    assert [i.track_id for i in camera.answer(camera.image(picture())).instances] == [0, 1]
    camera.transition(
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
    )

    def answered_again():
        camera.send(camera.image(picture()))
        return len(camera.received) > 1

    camera.wait(answered_again)
    assert [i.track_id for i in camera.received[1].instances] == [2, 3]


def test_without_tracking_no_object_has_an_id(start):
    camera, _ = start.node(tracking="false")
    for _ in range(2):
        message = camera.answer(camera.image(picture()))
        assert tracks(message) == [(-1, Instance.TRACK_NONE, 0)] * 2


def test_the_newest_image_wins_and_the_counts_add_up(start, tmp_path):
    gate = tmp_path / "gate"
    camera, _ = start.node(environment={"SCRIPTED_GATE": str(gate)})
    headers = []
    for number in range(1, 5):
        headers.append(camera.send(camera.image(picture(number))))
        camera.wait_for_counts(received=number)
    gate.touch()
    counts = camera.wait_for_counts(in_progress=0)
    assert counts["received"] == 4
    assert counts["segmented"] == 2
    assert counts["dropped_replaced"] == 2
    camera.wait(lambda: len(camera.received) == 2)
    assert [answer.header for answer in camera.received] == [headers[0], headers[3]]


def test_an_image_older_than_max_age_is_dropped_and_counted(start):
    camera, process = start.node(max_age=1000.0)
    old = camera.image(picture())
    old.header.stamp.sec -= 2000
    camera.send(old)
    camera.wait_for_counts(received=1, dropped_stale=1)
    assert "max_age is 1000.0 s" in process.output
    assert_instances(camera.answer(camera.image(picture())), picture())
    assert len(camera.received) == 1


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"score_threshold": 1.5}, "The parameter score_threshold is 1.5"),
        ({"model": "/no/such/model.safetensors"}, "/no/such/model.safetensors"),
        ({"model": __file__}, Path(__file__).name),
    ],
)
def test_a_wrong_parameter_or_model_ends_the_start_with_one_sentence(start, parameters, named):
    process, _ = start.process(program=REAL, **parameters)
    assert process.wait() == 2
    errors = [line for line in process.output.splitlines() if line.strip()]
    assert len(errors) == 1, process.output
    assert named in errors[0]


def test_without_autostart_a_manager_configures_and_a_refusal_leaves_the_node_unconfigured(start):
    process, namespace = start.process(autostart="false", score_threshold=1.5)
    manager = Manager(process, namespace)

    def changes_state(number):
        return manager.call("change_state", transition=Transition(id=number)).success

    assert not changes_state(Transition.TRANSITION_CONFIGURE)
    assert "score_threshold is 1.5" in process.output
    (refusal,) = manager.set(score_threshold=-1.0)
    assert "score_threshold is -1.0" in refusal
    assert manager.set(score_threshold=0.5) == []
    assert not changes_state(Transition.TRANSITION_ACTIVATE), "it is not configured"
    words = ("The state stays as it is.", "Unable to start transition")  # ours, and rclpy's
    assert any(word in process.output for word in words)
    manager.transition(
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_ACTIVATE,
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_ACTIVATE,
        Transition.TRANSITION_DEACTIVATE,
        Transition.TRANSITION_CLEANUP,
        Transition.TRANSITION_CONFIGURE,
        Transition.TRANSITION_INACTIVE_SHUTDOWN,
    )
    manager.close()


@pytest.mark.parametrize(
    ("numbers", "busy"),
    [
        ([signal.SIGINT], False),
        ([signal.SIGTERM], True),
        # as Ctrl-C reaches a launched node
        ([signal.SIGINT, signal.SIGINT], False),
        ([signal.SIGINT, signal.SIGINT, signal.SIGTERM], True),
    ],
)
def test_signals_end_the_node_at_once_even_while_it_computes(start, tmp_path, numbers, busy):
    environment = {"SCRIPTED_GATE": str(tmp_path / "never")} if busy else {}
    camera, process = start.node(environment=environment)
    if busy:
        camera.send(camera.image(picture()))
        camera.wait_for_counts(received=1, in_progress=1)
    code, seconds = process.signal(*numbers)
    assert code == 0, process.output
    assert seconds < 10, "two seconds are promised; a busy machine gets some more"
    assert "Traceback" not in process.output
    assert "terminate" not in process.output


def test_the_real_model_answers_as_its_predictor_does(start):
    pytest.importorskip("skimage", reason="scikit-image has the photograph")
    from skimage.data import astronaut

    image = np.ascontiguousarray(astronaut()[..., ::-1])
    # The number of threads decides the order of sums, and so their last bits.
    camera, _ = start.node(program=REAL, precision="fp32", device="cpu", num_threads=1)
    found = message_to_instances(camera.answer(camera.image(image)))
    wanted = sm.Predictor.from_pretrained(None, "cpu", "fp32", 0.3, 1)(image)
    assert len(found) > 0
    assert np.array_equal(found.masks, wanted.masks)
    assert np.array_equal(found.boxes, wanted.boxes)
