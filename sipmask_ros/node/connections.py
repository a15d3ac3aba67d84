"""Warnings about the nodes that share a topic with this one and yet exchange nothing with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration, Infinite
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, ReliabilityPolicy

from sipmask_ros.conversions.images import type_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from rclpy.node import Node
    from rclpy.qos import QoSProfile

CHECK_PERIOD = 0.25  # seconds
# A topic is known before its node's name; after this many checks the warning goes without it.
NAMELESS_CHECKS = 4

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

    It watches all topics of the node, from now until `destroy`. The middleware tells of QoS by
    events: create publishers and subscriptions with `publisher_events` and `subscription_events`.
    It does not tell of a topic's type, nor of the other's name, so the graph is looked at, too.

    image_topics: of the subscriptions whose type the parameter `transport` chooses.
    """

    def __init__(self, node: Node, image_topics: Collection[str] = ()) -> None:
        self._node = node
        self._image_topics = {node.resolve_topic_name(topic) for topic in image_topics}
        # How many checks in a row have seen each one; it grows no larger than the graph.
        self._sightings: dict[_Mismatch, int] = {}
        self.subscription_events = SubscriptionEventCallbacks(
            incompatible_qos=self._on_event, use_default_callbacks=False
        )
        self.publisher_events = PublisherEventCallbacks(
            incompatible_qos=self._on_event, use_default_callbacks=False
        )
        # Simulated time may stand still.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(CHECK_PERIOD, self.check, clock=clock)

    def destroy(self) -> None:
        """Watch no more."""
        self._node.destroy_timer(self._timer)

    def check(self) -> None:
        """Warn of what is new; of a node without a name only after NAMELESS_CHECKS checks."""
        try:
            present = list(self._find())
        except Exception:
            if self._node.context.ok():
                raise
            return  # the process was told to end in the meantime
        self._sightings = {found: self._sightings.get(found, 0) + 1 for found in present}
        for mismatch, count in self._sightings.items():
            if count == (1 if mismatch.node else NAMELESS_CHECKS):
                self._node.get_logger().warning(self._sentence(mismatch))

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
