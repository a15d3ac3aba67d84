"""One node, several cameras."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

import rclpy
from node_harness import Starter, assert_instances, picture
from ros_harness import start_ros
from scripted_node import GREEN
from sensor_msgs.msg import Image

from sipmask_ros.conversions import array_to_image, image_to_bgr

TOPICS = ("front/image_raw", "left", "right")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    (folder / "gate").touch()
    return folder


@pytest.fixture(scope="module")
def cameras(folder):
    """Three cameras on one node, for tests that leave it at work with an open gate."""
    start_ros()
    starter = Starter(folder)
    names = ("GATE", "CALLS")
    yield starter.cameras(
        *TOPICS, environment={f"SCRIPTED_{name}": str(folder / name.lower()) for name in names}
    )
    starter.end()
    rclpy.shutdown()


@pytest.fixture
def gate(cameras, folder):
    """While it is gone, the batch at work waits, and what comes waits behind it."""
    yield folder / "gate"
    (folder / "gate").touch()


def hold(cameras, gate):
    """Give the node an image of the first camera that keeps it busy until the gate is there."""
    gate.unlink()
    gate.with_suffix(".waiting").unlink(missing_ok=True)
    header = cameras[0].send(cameras[0].image(picture()))
    cameras[0].wait(gate.with_suffix(".waiting").exists)
    return header


def received(camera):
    return int(camera.counts["received"])


def send_and_see_received(camera, message):
    """Leave an image in the node, where it waits."""
    camera.wait_for_counts(received=(before := camera.last_received))
    header = camera.send(message)
    camera.last_received = before + 1
    camera.wait_for_counts(received=before + 1)
    return header


def answered(camera, header):
    camera.wait(lambda: any(answer.header == header for answer in camera.received))
    return next(answer for answer in camera.received if answer.header == header)


def batches(folder):
    return [line.split() for line in (folder / "calls").read_text().splitlines()]


def test_each_camera_has_topics_ids_and_counts_of_its_own(cameras):
    services = dict(cameras[0].get_topic_names_and_types())
    namespace = cameras[0].get_namespace()
    for topic in TOPICS:
        for output in ("instances", "overlay", "label_image"):
            assert f"{namespace}/segmentation_node/{topic}/{output}" in services
    for number, camera in enumerate(cameras):
        for _ in range(number + 1):
            answer = camera.answer(camera.image(picture(number)))
            assert_instances(answer, picture(number))
            assert [instance.track_id for instance in answer.instances] == [0, 1]
    for number, camera in enumerate(cameras):
        counts = camera.final_counts()
        assert counts["received"] == counts["segmented"] == number + 1 == len(camera.received)


def test_an_overlay_is_made_for_the_camera_whose_overlay_is_looked_at(cameras):
    overlays = []
    subscription = cameras[1].subscribe(Image, "overlay", overlays)

    def came():
        headers.append(cameras[1].answer(cameras[1].image(picture(2))).header)
        return overlays

    headers = []
    cameras[1].wait(came)
    assert overlays[0].header in headers
    cameras[1].destroy_subscription(subscription)


def test_images_that_wait_together_go_through_the_network_together(cameras, gate, folder):
    hold(cameras, gate)
    before = len(batches(folder))
    images = {
        cameras[0]: array_to_image(picture(1), "bgr8", cameras[0].header()),
        cameras[1]: array_to_image(picture(2, size=(96, 128))[..., ::-1], "rgb8", cameras[1].header()),
        cameras[2]: array_to_image(picture(3).max(axis=2), "mono8", cameras[2].header()),
    }
    start = {camera: camera.final_received() for camera in images}
    headers = {camera: camera.send(message) for camera, message in images.items()}
    for camera in images:
        camera.wait_for_counts(received=start[camera] + 1)
    gate.touch()
    for camera, message in images.items():
        assert_instances(answered(camera, headers[camera]), image_to_bgr(message))
    assert [sorted(batch) for batch in batches(folder)[before:]] == [["128x96", "64x48", "64x48"]]
