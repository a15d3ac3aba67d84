"""Who shares a topic with a node and exchanges nothing with it, on real ROS 2.

The others live in a context of their own: within one participant, Fast DDS refuses a second type
on a topic.
"""

from itertools import product
from time import monotonic

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 in this environment")
pytest.importorskip("sipmask_ros.msg", reason="the messages are not built")

import rclpy
from rclpy.duration import Duration, Infinite
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from ros_harness import PATIENCE
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from sipmask_ros.node.connections import (
    NAMELESS_CHECKS,
    SILENT_CHECKS,
    ConnectionWatch,
    Difference,
    differences,
)

RELIABLE = QoSProfile(depth=1)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
IMAGE = "sensor_msgs/msg/Image"

pytestmark = pytest.mark.usefixtures("ros")


def ignore(_message):
    """Take a message; rclpy looks at the signature, which Python 3.10 has for no builtin."""


class Watched(Node):
    """A node that looks after its connections; what it says is in `warnings`."""

    def __init__(self):
        super().__init__("watched", namespace="/robot")
        self.warnings = []
        self.forget_names = False
        self.looks = 0
        self.watch = ConnectionWatch(self, ("image",))
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def get_logger(self):
        return self

    def warning(self, sentence):
        self.warnings.append(sentence)

    def get_publishers_info_by_topic(self, topic):
        self.looks += 1
        found = super().get_publishers_info_by_topic(topic)
        for endpoint in found if self.forget_names else ():
            endpoint.node_name = endpoint.node_namespace = "_NODE_NAME_UNKNOWN_"
        return found

    def read(self, kind=Image, qos=RELIABLE, topic="image"):
        events = self.watch.subscription_events
        return self.create_subscription(kind, topic, ignore, qos, event_callbacks=events)

    def offer(self, kind=Image, qos=RELIABLE, topic="~/overlay"):
        events = self.watch.publisher_events
        return self.create_publisher(kind, topic, qos, event_callbacks=events)

    def wait(self, condition):
        end = monotonic() + PATIENCE
        while not condition():
            assert monotonic() < end, f"Nothing happened; said was: {self.warnings}"
            self._executor.spin_once(timeout_sec=0.05)

    def close(self):
        self._executor.shutdown()
        self.destroy_node()


@pytest.fixture
def us():
    node = Watched()
    yield node
    node.close()


@pytest.fixture
def nameless(us, driver):
    """Return us, next to a nameless driver that does not fit; only the test checks."""

    def named():
        found = us.get_publishers_info_by_topic("/robot/image")
        return any(endpoint.node_name == "driver" for endpoint in found)

    us.watch.destroy()
    us.create_subscription(Image, "image", ignore, RELIABLE)
    driver.create_publisher(Image, "/robot/image", BEST_EFFORT)
    us.wait(named)
    us.forget_names = True
    return us


@pytest.fixture
def driver():
    context = rclpy.Context()
    context.init()
    node = Node("driver", namespace="/front", context=context)
    yield node
    node.destroy_node()
    context.shutdown()


def test_a_publisher_of_less_reliability_is_named_with_the_parameter_that_mends_it(us, driver):
    us.read()
    driver.create_publisher(Image, "/robot/image", BEST_EFFORT)
    us.wait(lambda: us.warnings)
    assert us.warnings == [
        "/robot/image: node /front/driver offers reliability best_effort, this node asks for"
        " reliable and gets nothing from it; set the parameter reliability to best_effort."
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "remedy"),
    [
        (Image, CompressedImage, "set the parameter transport to compressed."),
        (CompressedImage, Image, "set the parameter transport to raw."),
        (Image, PointCloud2, f"let it offer {IMAGE}, or take another topic."),
    ],
)
def test_a_publisher_of_another_type_is_named_with_what_mends_it(us, driver, ours, theirs, remedy):
    us.read(ours)
    driver.create_publisher(theirs, "/robot/image", RELIABLE)
    us.wait(lambda: us.warnings)
    assert us.warnings == [
        f"/robot/image: node /front/driver offers type sensor_msgs/msg/{theirs.__name__}, this node"
        f" asks for sensor_msgs/msg/{ours.__name__} and gets nothing from it; {remedy}"
    ]


def test_transport_is_no_remedy_for_a_topic_that_it_does_not_concern(us, driver):
    us.read(topic="depth")
    driver.create_publisher(CompressedImage, "/robot/depth", RELIABLE)
    us.wait(lambda: us.warnings)
    (sentence,) = us.warnings
    assert "transport" not in sentence


def test_an_event_of_the_middleware_is_looked_into_at_once(us, driver):
    us.read()
    us.watch.destroy()  # no check but for events
    driver.create_publisher(Image, "/robot/image", BEST_EFFORT)
    us.wait(lambda: us.looks)


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        ({"durability": DurabilityPolicy.TRANSIENT_LOCAL}, "durability transient_local"),
        ({"deadline": Duration(seconds=2)}, "deadline 2 s"),
        ({"liveliness": LivelinessPolicy.MANUAL_BY_TOPIC}, "liveliness manual_by_topic"),
    ],
)
def test_a_subscriber_that_asks_for_more_than_is_offered_is_named(us, driver, policies, words):
    us.offer()
    driver.create_subscription(
        Image, "/robot/watched/overlay", ignore, QoSProfile(depth=1, **policies)
    )
    us.wait(lambda: us.warnings)
    (sentence,) = us.warnings
    assert sentence.startswith(f"/robot/watched/overlay: node /front/driver asks for {words}, ")
    assert sentence.endswith((" volatile.", " none.", " automatic."))


def test_each_is_named_once_and_a_new_one_again(us, driver):
    us.read()
    first = driver.create_publisher(Image, "/robot/image", BEST_EFFORT)
    us.wait(lambda: us.warnings)
    for _ in range(5):
        us.watch.check()
    assert len(us.warnings) == 1
    driver.destroy_publisher(first)
    driver.create_publisher(Image, "/robot/image", BEST_EFFORT)
    us.wait(lambda: len(us.warnings) > 1)
    assert us.warnings[0] == us.warnings[1]


def test_who_fits_is_not_mentioned(us, driver):
    us.read(qos=BEST_EFFORT)
    overlay = us.offer()
    published = driver.create_publisher(Image, "/robot/image", RELIABLE)
    driver.create_subscription(Image, "/robot/watched/overlay", ignore, BEST_EFFORT)
    forever = QoSProfile(depth=1, deadline=Infinite, liveliness_lease_duration=Infinite)
    driver.create_subscription(Image, "/robot/watched/overlay", ignore, forever)
    us.wait(lambda: published.get_subscription_count() and overlay.get_subscription_count() == 2)
    us.watch.check()
    assert us.warnings == []


def test_a_name_that_the_graph_learns_late_is_waited_for(nameless):
    for _ in range(NAMELESS_CHECKS - 1):
        nameless.watch.check()
    assert nameless.warnings == []
    nameless.forget_names = False
    nameless.watch.check()
    (sentence,) = nameless.warnings
    assert sentence.startswith("/robot/image: node /front/driver offers reliability")


def test_who_stays_nameless_is_told_of_nevertheless(nameless):
    for _ in range(NAMELESS_CHECKS + 3):
        nameless.watch.check()
    (sentence,) = nameless.warnings
    assert sentence.startswith("/robot/image: a node of unknown name offers reliability")


def check_often(us):
    us.watch.destroy()  # no check but these
    for _ in range(SILENT_CHECKS + 2):
        us.watch.check()


def test_a_topic_on_which_nobody_publishes_is_named_with_those_that_may_have_been_meant(us, driver):
    us.read()
    us.offer()  # our own pictures are no camera's
    driver.create_subscription(Image, "/heard/image", ignore, BEST_EFFORT)
    driver.create_publisher(CompressedImage, "/front/image/compressed", RELIABLE)
    for number in range(10):
        driver.create_publisher(Image, f"/front/image_{number}", BEST_EFFORT)
    us.wait(lambda: us.count_publishers("/front/image_9"))
    check_often(us)
    assert us.warnings == [
        "/robot/image: nobody publishes on this topic. Topics of type sensor_msgs/msg/Image: "
        + ", ".join(f"/front/image_{number}" for number in range(8))
        + " and 2 more."
    ]


def test_without_topics_of_the_type_those_of_the_other_transport_are_named(us, driver):
    us.read()
    driver.create_publisher(PointCloud2, "/front/points", RELIABLE)
    driver.create_publisher(CompressedImage, "/front/image/compressed", RELIABLE)
    us.wait(lambda: us.count_publishers("/front/image/compressed"))
    check_often(us)
    assert us.warnings == [
        "/robot/image: nobody publishes on this topic. Topics of type"
        " sensor_msgs/msg/CompressedImage (set the parameter transport to compressed):"
        " /front/image/compressed."
    ]


def test_a_topic_that_falls_silent_again_is_named_again(us, driver):
    us.read()
    check_often(us)
    assert us.warnings == [
        f"/robot/image: nobody publishes on this topic, nor on any other of type {IMAGE}."
    ]
    camera = driver.create_publisher(Image, "/robot/image", RELIABLE)
    us.wait(lambda: us.count_publishers("/robot/image"))
    us.watch.check()
    driver.destroy_publisher(camera)
    us.wait(lambda: not us.count_publishers("/robot/image"))
    check_often(us)
    assert len(us.warnings) == 2 and us.warnings[0] == us.warnings[1]


def test_a_topic_of_the_wrong_type_is_not_called_silent(us, driver):
    us.read()
    driver.create_publisher(CompressedImage, "/robot/image", RELIABLE)
    us.wait(lambda: us.warnings)
    check_often(us)
    (sentence,) = us.warnings
    assert "transport to compressed" in sentence


def test_a_check_that_the_end_of_the_process_overtakes_is_silent():
    context = rclpy.Context()
    context.init()
    node = Node("ending", context=context)
    watch = ConnectionWatch(node)
    watch.check()
    context.shutdown()
    watch.check()


VALUES = {
    "reliability": (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT),
    "durability": (DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL),
    "deadline": (Infinite, Duration(seconds=1), Duration(seconds=2)),
    "liveliness": (LivelinessPolicy.AUTOMATIC, LivelinessPolicy.MANUAL_BY_TOPIC),
    "liveliness_lease_duration": (Infinite, Duration(seconds=1), Duration(seconds=2)),
}
PROFILES = [
    QoSProfile(depth=1, **dict(zip(VALUES, values, strict=True)))
    for values in product(*VALUES.values())
]


def test_profiles_differ_exactly_where_the_middleware_finds_them_incompatible():
    for offered, asked in product(PROFILES, PROFILES):
        verdict, _ = qos_check_compatible(offered, asked)
        found = differences(IMAGE, offered, IMAGE, asked)
        assert bool(found) == (verdict == QoSCompatibility.ERROR), (offered, asked, found)


def test_every_difference_is_told_and_what_is_unset_lasts_for_ever():
    asked = QoSProfile(
        depth=1,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
        deadline=Duration(nanoseconds=5 * 10**8),
    )
    assert differences("a/msg/A", BEST_EFFORT, "a/msg/B", asked) == [
        Difference("type", "a/msg/A", "a/msg/B"),
        Difference("reliability", "best_effort", "reliable"),
        Difference("durability", "volatile", "transient_local"),
        Difference("deadline", "none", "0.5 s"),
    ]
    forever = QoSProfile(depth=1, deadline=Infinite, liveliness_lease_duration=Infinite)
    assert differences("a/msg/A", RELIABLE, "a/msg/A", forever) == []
