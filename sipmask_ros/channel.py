"""One camera's way through the node: its topics, its tracks and its counts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from sipmask_core.online_tracker import OnlineTracker
from sipmask_core.stopwatch import stage
from sipmask_ros.conversions import array_to_image, label_image
from sipmask_ros.diagnostics import Outcome, Reporter, Statistics
from sipmask_ros.msg import InstanceArray
from sipmask_ros.perception import stamp_nanoseconds, stamp_seconds
from sipmask_ros.rate_limit import RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from diagnostic_msgs.msg import DiagnosticStatus
    from rclpy.lifecycle import LifecycleNode
    from rclpy.time import Time

    from sipmask_core.predictor import Predictor
    from sipmask_ros.parameters import Parameters
    from sipmask_ros.perception import ImageMessage, Percept, Perception


class Arrival(NamedTuple):
    """An image that came in, and when: seconds of time.perf_counter."""

    channel: Channel
    message: ImageMessage
    time: float


class Channel:
    """What belongs to one image topic from configure to cleanup.

    outputs: under which its topics are published, such as "~" or "~/front/image_raw".
    name: in diagnostics. first_track_id: no id from it on was given before.
    """

    def __init__(
        self,
        node: LifecycleNode,
        topic: str,
        outputs: str,
        name: str,
        parameters: Parameters,
        first_track_id: int,
    ) -> None:
        self.topic = topic
        self.tracker = OnlineTracker(parameters.tracker_settings(), first_track_id)
        self.statistics = Statistics()
        self._node = node
        self._parameters = parameters
        self._limit = RateLimit(parameters.max_rate)
        self._subscription: Any = None
        self._predictor: Predictor | None = None
        self._reporter = Reporter(self.statistics, name)
        create = node.create_lifecycle_publisher
        self._instances = create(InstanceArray, f"{outputs}/instances", 10)
        self._overlay = create(Image, f"{outputs}/overlay", 1)
        self._labels = create(Image, f"{outputs}/label_image", 1)
        self._publishers = (self._instances, self._overlay, self._labels)

    @property
    def parameters(self) -> Parameters:
        """As of now; changed ones count from the next image on."""
        return self._parameters

    @parameters.setter
    def parameters(self, changed: Parameters) -> None:
        self.tracker.settings = changed.tracker_settings()
        self._limit.rate = changed.max_rate
        self._parameters = changed

    def subscribe(self, callback: Callable[[ImageMessage], None]) -> None:
        """Let images come in."""
        self._subscription = self._node.create_subscription(
            CompressedImage if self._parameters.transport == "compressed" else Image,
            self.topic,
            callback,
            QoSProfile(
                depth=1, reliability=ReliabilityPolicy[self._parameters.reliability.upper()]
            ),
        )

    def unsubscribe(self) -> None:
        """Let no more images come in."""
        self._node.destroy_subscription(self._subscription)
        self._subscription = None

    def follower(self, predictor: Predictor) -> OnlineTracker | None:
        """The tracker of what this predictor finds, while ids are wanted."""
        if predictor is not self._predictor:
            # Another model's classes and embeddings have other meanings.
            self._predictor = predictor
            self.tracker.reset()
        return self.tracker if self._parameters.tracking else None

    def receive(self, message: ImageMessage) -> Arrival | None:
        """Count an image that came in; None where it is not to be segmented."""
        now = time.perf_counter()
        self.statistics.receive()
        if not (self._parameters.always_on or self._is_heard()):
            self.statistics.finish(Outcome.IDLE)
        elif not self._limit.allows(now):
            self.statistics.finish(Outcome.LIMITED)
        else:
            return Arrival(self, message, now)
        return None

    def age(self, header: Any) -> float | None:
        """Seconds since the header's stamp; None where the camera left it empty."""
        if stamp_seconds(header) is None:
            return None
        now: int = self._node.get_clock().now().nanoseconds
        return (now - stamp_nanoseconds(header)) * 1e-9

    def publish(self, percept: Percept, perceive: Perception) -> None:
        """Send the instances of an image."""
        message = perceive.to_message(percept)
        with stage("publish"):
            self._instances.publish(message)

    def publish_pictures(self, percept: Percept, perceive: Perception) -> None:
        """Send what is made only while someone subscribes."""
        if self._overlay.get_subscription_count():
            self._overlay.publish(perceive.to_overlay(percept))
        if self._labels.get_subscription_count():
            labels = label_image(percept.instances)
            self._labels.publish(array_to_image(labels, "mono16", percept.header))

    def report(self, now: Time, predictor: Predictor, active: bool) -> DiagnosticStatus:
        """How this camera's images fare, see `Reporter`."""
        facts = {
            "model": predictor.model_name,
            "device": str(predictor.device),
            "precision": predictor.precision,
            "instances_subscribers": str(self._instances.get_subscription_count()),
        }
        if self._subscription is not None:
            facts["image_publishers"] = str(self._subscription.get_publisher_count())
        return self._reporter.report(now, facts, active)

    def destroy(self) -> None:
        """Let the topics go."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)

    def _is_heard(self) -> bool:
        return any(publisher.get_subscription_count() for publisher in self._publishers)
