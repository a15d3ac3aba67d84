"""Warnings about topics on which nothing comes: nodes that do not fit, or nobody at all."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from rclpy.duration import Duration, Infinite
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, ReliabilityPolicy

from sipmask_core.errors import first_of
from sipmask_ros.conversions.images import type_name
from sipmask_ros.node.timers import steady_timer
from sipmask_ros.topic_names import compressed_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from rclpy.node import Node
    from rclpy.qos import QoSProfile

CHECK_PERIOD = 0.25  # seconds
# A topic is known before its node's name; after this many checks the warning goes without it.
NAMELESS_CHECKS = 4
# After so many checks, 3 s, a topic that is subscribed to and that nobody publishes on is told of.
SILENT_CHECKS = 12
MOST_TOPICS = 8  # that one sentence names
# Of tf2, which says by itself what it lacks: a robot may well have only one of the two.
_MAY_BE_SILENT = ("/tf", "/tf_static")

# The policies that DDS compares between publisher and subscription, and what they are if unset.
_POLICIES = {
    "reliability": ReliabilityPolicy.RELIABLE,
    "durability": DurabilityPolicy.VOLATILE,
    "deadline": Infinite,
    "liveliness": LivelinessPolicy.AUTOMATIC,
    "liveliness_lease_duration": Infinite,
}
_UNSET = (0, Duration())
_TRANSPORTS = {
    "sensor_msgs/msg/Image": "raw",
    "sensor_msgs/msg/CompressedImage": "compressed",
}
_UNKNOWN_NAME = "_NODE_NAME_UNKNOWN_"  # of rmw_dds_common


class Difference(NamedTuple):
    """What keeps a publisher and a subscription apart: the type or a QoS policy."""

    what: str
    offered: str
    asked: str


class _Mismatch(NamedTuple):
    endpoint: bytes  # the other's identity in the graph
    node: str  # its name, empty if that is not known
    topic: str
    difference: Difference
    is_publisher: bool  # whether the other one is


class ConnectionWatch:
    """Warns once of each publisher and each subscriber that type or QoS keeps apart from a node.

    It also warns of topics that the node subscribes to and nobody publishes on.

    It watches all topics of the node, from now until `destroy`. The middleware tells of QoS by
    events: create publishers and subscriptions with `publisher_events` and `subscription_events`.
    It does not tell of a topic's type, nor of the other's name, so the graph is looked at, too.

    image_topics: of the subscriptions whose type the parameter `transport` chooses. followers: are
    called before each regular check, to change the subscriptions if the publishers have changed.
    """

    def __init__(self, node: Node, image_topics: Collection[str] = ()) -> None:
        self._node = node
        named = {node.resolve_topic_name(topic) for topic in image_topics}
        self._image_topics = named | {compressed_topic(topic) for topic in named}
        self.followers: list[Callable[[], None]] = []
        # How many checks in a row have seen each one; it grows no larger than the graph.
        self._sightings: dict[_Mismatch, int] = {}
        # How many in a row have seen nobody publish on each topic that is subscribed to.
        self._silent: dict[str, int] = {}
        self.subscription_events = SubscriptionEventCallbacks(
            incompatible_qos=self._on_event, use_default_callbacks=False
        )
        self.publisher_events = PublisherEventCallbacks(
            incompatible_qos=self._on_event, use_default_callbacks=False
        )
        self._timer = steady_timer(node, CHECK_PERIOD, self._on_timer)

    def destroy(self) -> None:
        """Watch no more."""
        self._node.destroy_timer(self._timer)

    def check(self) -> None:
        """Warn of what is new.

        That is a node without a name after NAMELESS_CHECKS checks, a topic without a publisher
        after SILENT_CHECKS.
        """
        with self._until_the_end():
            present = list(self._find())
            self._sightings = {found: self._sightings.get(found, 0) + 1 for found in present}
            for mismatch, count in self._sightings.items():
                if count == (1 if mismatch.node else NAMELESS_CHECKS):
                    self._node.get_logger().warning(self._sentence(mismatch))
            asked = {s.topic_name: type_name(s.msg_type) for s in self._node.subscriptions}
            self._silent = {
                topic: self._silent.get(topic, 0) + 1
                for topic in asked
                if topic not in _MAY_BE_SILENT and not self._node.count_publishers(topic)
            }
            for topic, count in self._silent.items():
                if count == SILENT_CHECKS:
                    self._node.get_logger().warning(self._on_silence(topic, asked[topic]))

    def _on_timer(self) -> None:
        with self._until_the_end():
            for follow in self.followers:
                follow()
        self.check()

    @contextmanager
    def _until_the_end(self) -> Iterator[None]:
        """Let nothing be raised once the process was told to end."""
        try:
            yield
        except Exception:
            if self._node.context.ok():
                raise

    def _on_event(self, event: Any) -> None:
        self.check()

    def _find(self) -> Iterator[_Mismatch]:
        for subscription in self._node.subscriptions:
            topic, kind = subscription.topic_name, type_name(subscription.msg_type)
            for other in self._node.get_publishers_info_by_topic(topic):
                for found in differences(
                    other.topic_type, other.qos_profile, kind, subscription.qos_profile
                ):
                    yield _Mismatch(_identity(other), _node_name(other), topic, found, True)
        for publisher in self._node.publishers:
            topic, kind = publisher.topic_name, type_name(publisher.msg_type)
            for other in self._node.get_subscriptions_info_by_topic(topic):
                for found in differences(
                    kind, publisher.qos_profile, other.topic_type, other.qos_profile
                ):
                    yield _Mismatch(_identity(other), _node_name(other), topic, found, False)

    def _on_silence(self, topic: str, kind: str) -> str:
        """Return a sentence that names the topics which may have been meant."""
        remedies = [(kind, "")]
        if topic in self._image_topics:
            remedies += [
                (other, f" (set the parameter transport to {transport})")
                for other, transport in _TRANSPORTS.items()
                if other != kind
            ]
        for present, remedy in remedies:
            if topics := self._published(present):
                return (
                    f"{topic}: nobody publishes on this topic. Topics of type {present}{remedy}:"
                    f" {first_of(topics, MOST_TOPICS)}."
                )
        return f"{topic}: nobody publishes on this topic, nor on any other of type {kind}."

    def _published(self, kind: str) -> list[str]:
        """Return the topics of this type that others publish on."""
        own = {publisher.topic_name for publisher in self._node.publishers}
        return sorted(
            topic
            for topic, kinds in self._node.get_topic_names_and_types()
            if kind in kinds and topic not in own and self._node.count_publishers(topic)
        )

    def _sentence(self, mismatch: _Mismatch) -> str:
        _, node, topic, (what, offered, asked), is_publisher = mismatch
        name = f"node {node}" if node else "a node of unknown name"
        if not is_publisher:
            return (
                f"{topic}: {name} asks for {what} {asked}, this node offers {offered} and does not"
                f" reach it; let it ask for {offered}."
            )
        transport = _TRANSPORTS.get(offered) if topic in self._image_topics else None
        if transport is not None:
            remedy = f"set the parameter transport to {transport}"
        elif what == "reliability":
            remedy = f"set the parameter reliability to {offered}"
        else:
            remedy = f"let it offer {asked}, or take another topic"
        return (
            f"{topic}: {name} offers {what} {offered}, this node asks for {asked} and gets nothing"
            f" from it; {remedy}."
        )


def differences(
    offered_type: str, offered: QoSProfile, asked_type: str, asked: QoSProfile
) -> list[Difference]:
    """Return what keeps a publisher that offers from a subscription that asks; empty if nothing.

    Types are names such as sensor_msgs/msg/Image.
    """
    found = [] if offered_type == asked_type else [Difference("type", offered_type, asked_type)]
    for policy, default in _POLICIES.items():
        values = [getattr(profile, policy) for profile in (offered, asked)]
        promised, wanted = (default if value in _UNSET else value for value in values)
        # A larger value promises less, be it a kind or a time; only liveliness counts upwards.
        refused = promised < wanted if policy == "liveliness" else promised > wanted
        if refused:
            found.append(Difference(policy, _word(promised), _word(wanted)))
    return found


def _word(value: Any) -> str:
    """Return a policy's value as people write it: an enumerator's name, or seconds."""
    if hasattr(value, "short_key"):
        return str(value.short_key)
    return "none" if value == Infinite else f"{value.nanoseconds * 1e-9:g} s"


def _identity(endpoint: Any) -> bytes:
    return bytes(endpoint.endpoint_gid)


def _node_name(endpoint: Any) -> str:
    """Return its name with its namespace; empty if the graph does not know it."""
    if endpoint.node_name == _UNKNOWN_NAME:
        return ""
    return f"{endpoint.node_namespace.rstrip('/')}/{endpoint.node_name}"
