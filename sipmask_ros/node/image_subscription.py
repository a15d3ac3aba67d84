"""The subscription to a camera's images, which follows whoever publishes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from sipmask_ros.conversions.images import type_name
from sipmask_ros.topic_names import compressed_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

    from sipmask_ros.node.connections import ConnectionWatch
    from sipmask_ros.node.parameters import Parameters


class _Target(NamedTuple):
    topic: str
    reliability: ReliabilityPolicy


class ImageSubscription:
    """Receives the images of a topic from now until `close`.

    With the parameter transport set to compressed, they come on what image_transport calls
    `<topic>/compressed`, or on the topic itself if CompressedImages are published only there. With
    reliability set to auto, the subscription is reliable while every publisher is.

    callback: gets each message and rclpy's information on it. watch: sees who publishes; at its
    pace the subscription follows.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        parameters: Parameters,
        watch: ConnectionWatch,
        callback: Callable[[Any, dict[str, Any]], None],
    ) -> None:
        self._node = node
        self._watch = watch
        self._callback = callback
        self._type = CompressedImage if parameters.transport == "compressed" else Image
        topic = node.resolve_topic_name(topic)
        # Those on which the images may be, the likelier first.
        self._topics = [topic]
        if self._type is CompressedImage and compressed_topic(topic) != topic:
            self._topics.insert(0, compressed_topic(topic))
        self._adapts = parameters.reliability == "auto"
        # What everyone can be served with, until the publishers are known.
        first = "best_effort" if self._adapts else parameters.reliability
        self._target = _Target(self._topics[0], ReliabilityPolicy[first.upper()])
        self._target = self._wanted()
        self._subscription = self._subscribe()
        watch.followers.append(self._follow)

    @property
    def facts(self) -> dict[str, str]:
        """What /diagnostics tells of it."""
        return {
            "image_topic": self._target.topic,
            "reliability": self._target.reliability.short_key,
            "image_publishers": str(self._subscription.get_publisher_count()),
        }

    def close(self) -> None:
        """Receive no more."""
        self._watch.followers.remove(self._follow)
        self._node.destroy_subscription(self._subscription)

    def _subscribe(self) -> Any:
        # If it adapts, an incompatible QoS is nothing to warn of.
        silent = SubscriptionEventCallbacks(use_default_callbacks=False)
        return self._node.create_subscription(
            self._type,
            self._target.topic,
            self._callback,
            QoSProfile(depth=1, reliability=self._target.reliability),
            event_callbacks=silent if self._adapts else self._watch.subscription_events,
        )

    def _follow(self) -> None:
        """Subscribe anew if the publishers are elsewhere by now, or offer something else."""
        if not self._adapts and len(self._topics) == 1:
            return
        target = self._wanted()
        if target != self._target:
            self._target = target
            self._node.destroy_subscription(self._subscription)
            self._subscription = self._subscribe()

    def _wanted(self) -> _Target:
        """Return what suits the publishers; while there are none, what was wanted before."""
        for topic in self._topics:
            offers = {
                publisher.qos_profile.reliability
                for publisher in self._node.get_publishers_info_by_topic(topic)
                if publisher.topic_type == type_name(self._type)
            }
            if offers:
                all_are = offers == {ReliabilityPolicy.RELIABLE}
                suits = ReliabilityPolicy.RELIABLE if all_are else ReliabilityPolicy.BEST_EFFORT
                return _Target(topic, suits if self._adapts else self._target.reliability)
        return self._target
