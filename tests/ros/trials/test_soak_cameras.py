"""One camera without a node; test_soak.py has several with one."""

import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

import rclpy
from ros_harness import PATIENCE, isolate_discovery
from sensor_msgs.msg import Image
from sipmask_ros.msg import Instance, InstanceArray

from sipmask_core.errors import InputError
from sipmask_ros.conversions.images import image_to_bgr
from sipmask_ros.trials import soak_cameras
from sipmask_ros.trials.soak_cameras import CLOCKS, ENCODINGS, Camera

PICTURE = np.full((12, 16, 3), (10, 120, 240), np.uint8)


class Rig:
    """A camera and what stands in for the node: it hears the images and publishes results."""

    def __init__(self):
        self.node = rclpy.create_node("rig")
        self.images = []
        self.node.create_subscription(Image, "image", self.images.append, 10)
        self.results = self.node.create_publisher(InstanceArray, "instances", 10)
        self.camera = Camera(self.node, "image", "instances", [PICTURE, PICTURE // 2], start=0)
        self.wait_until(self.camera.has_subscriber)
        self.wait_until(self.results.get_subscription_count)

    def wait_until(self, condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end
            rclpy.spin_once(self.node, timeout_sec=0.05)

    def send(self):
        """Send an image; return it as it arrives."""
        number = len(self.images) + 1
        self.camera.send()
        self.wait_until(lambda: len(self.images) == number)
        return self.images[-1]

    def answer(self, *tracks, header=None):
        """Publish a result with these (id, age)."""
        number = self.camera.results + 1
        instances = [Instance(track_id=id_, track_age=age) for id_, age in tracks]
        message = InstanceArray(instances=instances)
        if header is not None:
            message.header = header
        self.results.publish(message)
        self.wait_until(lambda: self.camera.results == number)


@pytest.fixture(scope="module", autouse=True)
def ros():
    isolate_discovery()
    rclpy.init()
    yield
    rclpy.shutdown()


@pytest.fixture
def rig():
    rig = Rig()
    yield rig
    rig.node.destroy_node()


def test_the_next_image_is_due_when_the_result_of_the_last_has_come(rig, monkeypatch):
    monkeypatch.setattr(soak_cameras, "PATIENCE", 10 * PATIENCE)
    first = rig.send()
    assert not rig.camera.is_due()
    second = rig.send()
    rig.answer(header=first.header)
    assert not rig.camera.is_due() and rig.camera.latencies == []
    rig.answer(header=second.header)
    assert rig.camera.is_due() and len(rig.camera.latencies) == 1
    assert (rig.camera.sent, rig.camera.results) == (2, 2)


def test_a_result_that_never_comes_is_not_waited_for_for_ever(rig, monkeypatch):
    rig.send()
    monkeypatch.setattr(soak_cameras, "PATIENCE", 0.0)
    assert rig.camera.is_due()


def test_a_silent_camera_is_not_due(rig):
    rig.camera.silent_until = time.monotonic() + PATIENCE
    assert not rig.camera.is_due()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_images_keep_their_pixels_in_every_encoding(rig, encoding):
    rig.camera.encoding = encoding
    message = rig.send()
    assert message.encoding == encoding
    grey = round(float(PICTURE[0, 0] @ (0.114, 0.587, 0.299)))
    expected = np.full_like(PICTURE, grey) if encoding == "mono8" else PICTURE
    assert np.array_equal(image_to_bgr(message), expected)
    assert image_to_bgr(rig.send()).max() < expected.max()  # the next one


def test_size_and_stamps_change(rig):
    rig.camera.scale = 1.25
    message = rig.send()
    assert (message.width, message.height) == (20, 15)
    stamps = []
    for rig.camera.clock in CLOCKS:
        stamps.append(rig.send().header.stamp)
    assert stamps[1].sec < stamps[0].sec < stamps[2].sec
    assert stamps[3].sec == stamps[3].nanosec == 0


def test_a_broken_image_cannot_be_read_and_is_not_waited_for(rig):
    rig.camera.send_broken()
    rig.wait_until(lambda: rig.images)
    with pytest.raises(InputError, match="data has"):
        image_to_bgr(rig.images[0])
    assert rig.camera.is_due() and rig.camera.sent == 1


def test_tracks_that_go_on_use_no_id_twice(rig):
    rig.answer((0, 0), (1, 0), (-1, 0), (-1, 0))
    rig.answer((0, 1))
    rig.answer((1, 2), (0, 2), (2, 0))
    assert rig.camera.ids_used_twice == 0


@pytest.mark.parametrize("later", [[(0, 0)], [(1, 0)], [(0, 1), (0, 1)], [(2, 0), (2, 0)]])
def test_an_id_of_two_objects_is_found(rig, later):
    rig.answer((0, 0), (1, 0))
    rig.answer(*later)
    assert rig.camera.ids_used_twice > 0
