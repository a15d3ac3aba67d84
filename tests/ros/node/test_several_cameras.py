"""One node, several cameras."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

from node_harness import Starter, assert_instances, picture
from scripted_node import GREEN
from sensor_msgs.msg import Image

from sipmask_ros.conversions.images import array_to_image, image_to_bgr
from sipmask_ros.node.diagnostics import Outcome

TOPICS = ("front/image_raw", "left", "right")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    (folder / "gate").touch()
    return folder


@pytest.fixture(scope="module")
def cameras(ros, folder):
    """Offer three cameras on one node, for tests that leave it at work with an open gate."""
    starter = Starter(folder)
    names = ("GATE", "CALLS")
    yield starter.cameras(
        *TOPICS, environment={f"SCRIPTED_{name}": str(folder / name.lower()) for name in names}
    )
    starter.end()


@pytest.fixture
def gate(cameras, folder):
    """Return the gate's file: without it, the batch at work waits, and all else behind it."""
    yield folder / "gate"
    (folder / "gate").touch()


def hold(cameras, gate):
    """Give the node an image of the first camera, on which it works until the gate is there.

    Return the image's header and the counts before.
    """
    counts = final_counts(cameras)
    gate.unlink()
    gate.with_suffix(".waiting").unlink(missing_ok=True)
    header = leave({cameras[0]: picture()})[cameras[0]]
    cameras[0].wait(gate.with_suffix(".waiting").exists)
    return header, counts


def final_counts(cameras):
    """Return the final counts of each camera, all from one report."""
    now = cameras[0].get_clock().now()
    return [camera.final_counts(now) for camera in cameras]


def leave(images):
    """Send an image of each camera, an array or a message, and see that the node has them."""
    received = {camera: int(camera.counts["received"]) for camera in images}
    headers = {
        camera: camera.send(camera.image(image) if isinstance(image, np.ndarray) else image)
        for camera, image in images.items()
    }
    for camera, count in received.items():
        camera.wait_for_counts(received=count + 1)
    return headers


def batches(folder):
    """Return the sizes of the pictures in each batch so far."""
    return [line.split() for line in (folder / "calls").read_text().splitlines()]


def test_each_camera_has_topics_ids_and_counts_of_its_own(cameras):
    topics = dict(cameras[0].get_topic_names_and_types())
    for topic in TOPICS:
        for output in ("instances", "overlay", "label_image"):
            name = f"{cameras[0].get_namespace()}/segmentation_node/{topic}/{output}"
            assert name in topics
    for number, camera in enumerate(cameras):
        for _ in range(number + 1):
            answer = camera.answer(camera.image(picture(number)))
            assert_instances(answer, picture(number))
            assert [instance.track_id for instance in answer.instances] == [0, 1]
    for number, counts in enumerate(final_counts(cameras)):
        answered = len(cameras[number].received)
        assert counts["received"] == counts["segmented"] == number + 1 == answered


def test_an_overlay_is_made_for_the_camera_whose_overlay_is_looked_at(cameras):
    overlays, headers = [], []
    subscription = cameras[1].subscribe(Image, "overlay", overlays)

    def came():
        headers.append(cameras[1].answer(cameras[1].image(picture(2))).header)
        return overlays

    cameras[1].wait(came)
    assert overlays[0].header in headers
    cameras[1].destroy_subscription(subscription)


def test_images_that_wait_go_through_the_network_together_whatever_their_size_and_encoding(
    cameras, gate, folder
):
    first, _ = hold(cameras, gate)
    before = len(batches(folder))
    front, left, right = cameras
    large, grey = picture(2, size=(96, 128)), picture(3).max(axis=2)
    images = {
        front: array_to_image(picture(1), "bgr8", front.header()),
        left: array_to_image(large[..., ::-1], "rgb8", left.header()),
        right: array_to_image(grey, "mono8", right.header()),
    }
    headers = leave(images)
    gate.touch()
    assert_instances(front.answer_to(first), picture())
    for camera, message in images.items():
        assert_instances(camera.answer_to(headers[camera]), image_to_bgr(message))
    assert [sorted(batch) for batch in batches(folder)[before:]] == [["128x96", "64x48", "64x48"]]


def test_images_that_fail_cost_none_of_the_others_in_their_batch(cameras, gate):
    front, left, right = cameras
    first, before = hold(cameras, gate)
    broken = left.image(picture())
    broken.encoding = "bgr9"
    failing = np.full((48, 64, 3), GREEN, np.uint8)
    headers = leave({front: picture(1), left: broken, right: failing})
    gate.touch()
    assert_instances(front.answer_to(first), picture())
    assert_instances(front.answer_to(headers[front]), picture(1))
    for camera, then, lost in (
        (left, before[1], "dropped_broken"),
        (right, before[2], "dropped_failed"),
    ):
        camera.wait_for_counts(**{lost: then[lost] + 1}, segmented=then["segmented"])


def test_a_camera_that_sends_more_gets_no_larger_share(cameras, gate, folder):
    front, left, right = cameras
    assert not front.set(max_batch=1)
    _, before = hold(cameras, gate)
    at_work = len(batches(folder))
    headers = leave({front: picture(1), left: picture(2, (96, 128)), right: picture(3, (48, 96))})
    replaced, headers[front] = headers[front], leave({front: picture(4)})[front]
    gate.touch()
    for camera, header in headers.items():
        camera.answer_to(header)
    assert sorted(batches(folder)[at_work:]) == [["128x96"], ["64x48"], ["96x48"]]
    assert replaced not in [answer.header for answer in front.received]
    for then, now, wanted in zip(
        before, final_counts(cameras), ((3, 2), (1, 1), (1, 1)), strict=True
    ):
        received, segmented = (now[key] - then[key] for key in ("received", "segmented"))
        assert (received, segmented) == wanted
        assert now["dropped_replaced"] - then["dropped_replaced"] == received - segmented
        assert now["received"] == sum(now[outcome.value] for outcome in Outcome)
    assert not front.set(max_batch=4)


def test_one_camera_that_stops_is_missed_and_the_others_go_on(cameras):
    front, left, right = cameras
    left.unplug()

    def told():
        for camera in (front, right):
            assert_instances(camera.answer(camera.image(picture())), picture())
        return left.counts["image_publishers"] == "0" and [
            camera.message for camera in cameras
        ] == ["segmenting", "no images", "segmenting"]

    left.wait(told)
    left.plug_in()
    left.wait_for_connection()
    assert_instances(left.answer(left.image(picture())), picture())
