"""Whom the subscription to images follows, on real ROS 2."""

from time import monotonic
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_harness import PATIENCE
from sensor_msgs.msg import CompressedImage, Image

from sipmask_ros.node.connections import ConnectionWatch
from sipmask_ros.node.image_subscription import ImageSubscription
from sipmask_ros.node.parameters import Parameters

RELIABLE = QoSProfile(depth=5)
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)

pytestmark = pytest.mark.usefixtures("ros")


@pytest.fixture
def driver():
    """Offer a node in a context of its own, as another process has it."""
    context = rclpy.Context()
    context.init()
    node = Node("driver", context=context)
    yield node
    node.destroy_node()
    context.shutdown()


@pytest.fixture
def us():
    """Offer a node that subscribes as `subscribe` says; what comes is in `received`."""
    node = Node("us", cli_args=["--ros-args", "-r", "image:=/camera/image_raw"])
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    received, warnings = [], []
    node.get_logger = lambda: SimpleNamespace(warning=warnings.append)
    watch = ConnectionWatch(node, ("image",))

    def receive(message, information):
        received.append((message, information))

    def subscribe(**parameters):
        return ImageSubscription(node, "image", Parameters(**parameters), watch, receive)

    def wait(condition):
        end = monotonic() + PATIENCE
        while not condition():
            assert monotonic() < end, f"Nothing happened; said was: {warnings}"
            executor.spin_once(timeout_sec=0.05)

    yield SimpleNamespace(
        subscribe=subscribe, wait=wait, received=received, warnings=warnings, watch=watch
    )
    executor.shutdown()
    node.destroy_node()


def test_auto_is_reliable_while_every_publisher_is(us, driver):
    subscription = us.subscribe(reliability="auto")
    assert subscription.facts["reliability"] == "best_effort", "which serves whoever comes"
    first = driver.create_publisher(Image, "/camera/image_raw", RELIABLE)
    us.wait(lambda: subscription.facts["reliability"] == "reliable")
    second = driver.create_publisher(Image, "/camera/image_raw", BEST_EFFORT)
    us.wait(lambda: subscription.facts["reliability"] == "best_effort")
    driver.destroy_publisher(second)
    us.wait(lambda: subscription.facts["reliability"] == "reliable")
    us.wait(lambda: subscription.facts["image_publishers"] == "1")
    driver.destroy_publisher(first)
    us.wait(lambda: subscription.facts["image_publishers"] == "0")
    assert subscription.facts["reliability"] == "reliable"
    assert us.warnings == []
    subscription.close()
    assert us.watch.followers == []


def test_a_reliability_that_was_chosen_stays(us, driver):
    driver.create_publisher(Image, "/camera/image_raw", BEST_EFFORT)
    subscription = us.subscribe(reliability="reliable")
    us.wait(lambda: us.warnings)
    assert subscription.facts["reliability"] == "reliable"


def test_compressed_images_are_found_beside_the_topic(us, driver):
    driver.create_publisher(Image, "/camera/image_raw", RELIABLE)
    subscription = us.subscribe(transport="compressed")
    beside = "/camera/image_raw/compressed"
    assert subscription.facts["image_topic"] == beside
    camera = driver.create_publisher(CompressedImage, beside, RELIABLE)
    us.wait(lambda: subscription.facts["image_publishers"] == "1")
    us.wait(lambda: camera.get_subscription_count() == 1)
    camera.publish(CompressedImage(format="first"))
    us.wait(lambda: us.received)
    assert us.received[0][0].format == "first"
    assert us.warnings == []


def test_compressed_images_on_the_very_topic_are_followed_there_and_back(us, driver):
    subscription = us.subscribe(transport="compressed")
    camera = driver.create_publisher(CompressedImage, "/camera/image_raw", RELIABLE)
    us.wait(lambda: subscription.facts["image_topic"] == "/camera/image_raw")
    us.wait(lambda: subscription.facts["image_publishers"] == "1")
    driver.destroy_publisher(camera)
    driver.create_publisher(CompressedImage, "/camera/image_raw/compressed", RELIABLE)
    us.wait(lambda: subscription.facts["image_topic"] == "/camera/image_raw/compressed")


def test_each_image_comes_with_its_number_at_the_publisher(us, driver):
    subscription = us.subscribe(reliability="reliable")
    camera = driver.create_publisher(Image, "/camera/image_raw", RELIABLE)
    us.wait(lambda: subscription.facts["image_publishers"] == "1")
    us.wait(lambda: camera.get_subscription_count() == 1)
    for count in range(1, 4):
        camera.publish(Image())
        us.wait(lambda wanted=count: len(us.received) == wanted)
    first, second, third = (info["publication_sequence_number"] for _, info in us.received)
    assert (second, third) == (first + 1, first + 2)
