"""One camera's way through the node: its topics, its tracks and its counts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from diagnostic_msgs.msg import DiagnosticStatus

from sipmask_core.errors import InputError
from sipmask_core.tracking.online import OnlineTracker
from sipmask_ros.conversions.bit_depth import BitDepth
from sipmask_ros.conversions.headers import stamp_nanoseconds
from sipmask_ros.msg import InstanceArray
from sipmask_ros.node.camera_topics import CameraTopics
from sipmask_ros.node.camera_tracks import CameraTracks
from sipmask_ros.node.depth_camera import DepthCamera
from sipmask_ros.node.diagnostics import Outcome, Reporter, Statistics
from sipmask_ros.node.image_subscription import ImageSubscription
from sipmask_ros.node.losses import Losses
from sipmask_ros.node.outputs import outputs_of
from sipmask_ros.node.rate_limit import RateLimit
from sipmask_ros.node.scene import Scene
from sipmask_ros.node.target_frame import TargetFrame
from sipmask_ros.srv import Follow
from sipmask_ros.transport import advice_on_losses

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.lifecycle import LifecycleNode
    from rclpy.time import Time

    from sipmask_core.segmenter import Segmenter
    from sipmask_ros.node.connections import ConnectionWatch
    from sipmask_ros.node.parameters import Parameters
    from sipmask_ros.node.target_frame import Transforms
    from sipmask_ros.perception import ImageMessage, Percept, Perception


class Arrival(NamedTuple):
    """An image that came in, and when: seconds of time.perf_counter."""

    channel: Channel
    message: ImageMessage
    time: float


class Departure(NamedTuple):
    """When the instances of an image were handed to DDS: seconds of time.perf_counter.

    age: of the image at that moment, seconds; None if the camera left its stamp empty.
    """

    time: float
    age: float | None


class Channel:
    """What belongs to one image topic from configure to cleanup.

    topic: one of the parameters' `image_topics`. If it is the only one, the node's outputs are
    its outputs; otherwise their names begin with it. watch: sees who connects to its topics.
    first_track_id: no id from this one on was given before. transforms: if there is a target_frame.
    """

    def __init__(
        self,
        node: LifecycleNode,
        topic: str,
        parameters: Parameters,
        watch: ConnectionWatch,
        first_track_id: int,
        transforms: Transforms | None = None,
    ) -> None:
        self.tracker = OnlineTracker(parameters.tracker_settings(), first_track_id)
        self.statistics = Statistics()
        self.bit_depth = BitDepth(parameters.image_bits, self._tell_bits)
        self.zones = parameters.zones_of(topic)
        self.image_size: tuple[int, int] | None = None  # (H, W) of the last one that was segmented
        self._node = node
        self._topic = topic
        self._watch = watch
        self._parameters = parameters
        self._limit = RateLimit(parameters.max_rate)
        self._losses = Losses()
        self._subscription: ImageSubscription | None = None
        self._predictor: Segmenter | None = None
        self._depth: DepthCamera | None = None
        self._target = (
            None if transforms is None else TargetFrame(node, parameters.target_frame, transforms)
        )
        self._tracks = CameraTracks(self.tracker, self.age, self._target)
        self._last_scene: Scene | None = None  # in which ~/follow looks; only if there is depth
        alone = len(parameters.image_topics) == 1
        name = f"{node.get_fully_qualified_name()}: {'segmentation' if alone else topic}"
        self._reporter = Reporter(self.statistics, name.lstrip("/"))
        prefix = "~" if alone else f"~/{topic.lstrip('/')}"
        self._topics = CameraTopics(node, prefix, watch)
        self._instances = self._topics.offer(InstanceArray, "instances", 10)
        self.extras = [self._topics.offer_on_demand(output) for output in outputs_of(parameters)]
        self._follow_service: Any = None
        if parameters.depth_topics:
            self._follow_service = node.create_service(Follow, f"{prefix}/follow", self._follow)

    @property
    def parameters(self) -> Parameters:
        """Parameters as of now; changed ones count from the next image on."""
        return self._parameters

    @parameters.setter
    def parameters(self, changed: Parameters) -> None:
        self.tracker.settings = changed.tracker_settings()
        self.bit_depth.given = changed.image_bits
        self._limit.rate = changed.max_rate
        if changed.ignore_zones != self._parameters.ignore_zones:
            self.zones = changed.zones_of(self._topic)
        if self._depth is not None:
            self._depth.tolerance = changed.depth_tolerance
            self._depth.registered = changed.depth_registered
        self._parameters = changed

    def subscribe(self, callback: Callable[[ImageMessage], None]) -> None:
        """Begin to receive images."""
        wanted = self._parameters

        def receive(message: ImageMessage, information: dict[str, Any]) -> None:
            self._losses.note(information["publication_sequence_number"])
            callback(message)

        self._subscription = ImageSubscription(
            self._node, self._topic, wanted, self._watch, receive
        )
        if (depth := wanted.depth_of(self._topic)) is not None:
            self._depth = DepthCamera(
                self._node,
                *depth,
                wanted.depth_tolerance,
                wanted.depth_registered,
                wanted.depth_transport,
            )

    def unsubscribe(self) -> None:
        """Receive no more images."""
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
        if self._depth is not None:
            self._depth.close()

    def see_with(self, predictor: Segmenter) -> None:
        """Forget all tracks if another predictor saw the last image.

        Its classes and embeddings have other meanings.
        """
        if predictor is not self._predictor:
            self._predictor = predictor
            self.tracker.reset()

    @property
    def wanted_tracker(self) -> OnlineTracker | None:
        """The tracker; None if no ids are wanted."""
        return self.tracker if self._parameters.tracking else None

    def receive(self, message: ImageMessage) -> Arrival | None:
        """Count an image that came in; return None if it is not to be segmented."""
        now = time.perf_counter()
        self.statistics.receive()
        if not (self._parameters.always_on or self._topics.are_heard):
            self.statistics.finish(Outcome.IDLE)
        elif not self._limit.allows(now):
            self.statistics.finish(Outcome.LIMITED)
        else:
            return Arrival(self, message, now)
        return None

    def age(self, header: Any) -> float | None:
        """Return the seconds since the header's stamp; None if the camera left it empty."""
        stamp = stamp_nanoseconds(header)
        if not stamp:
            return None
        now: int = self._node.get_clock().now().nanoseconds
        return (now - stamp) * 1e-9

    def publish(self, percept: Percept, perceive: Perception) -> Departure:
        """Publish the instances of an image."""
        self.image_size = percept.instances.image_size
        message = perceive.to_message(percept)
        # A subscriber may have the message before `publish` returns. The age is read second: what
        # it has more than the time in this process must not be less than none.
        moment = time.perf_counter()
        departure = Departure(moment, self.age(message.header))
        self._instances.publish(message)
        return departure

    def scene(self, percept: Percept, perceive: Perception) -> Scene:
        """Return what the `extras` publish from."""
        scene = Scene(percept, perceive, self._parameters, self._tracks, self._depth)
        if self._follow_service is not None:
            self._last_scene = scene
        return scene

    def _follow(self, request: Follow.Request, response: Follow.Response) -> Follow.Response:
        """Choose the track of `~/target`."""
        follower = self._tracks.follower
        try:
            if not self._parameters.tracking:
                raise InputError("tracking is false.")
            response.message = follower.choose(request, self._last_scene)
            response.success = True
        except InputError as error:
            response.message = str(error)
        response.track_id = follower.track_id
        return response

    def report(self, now: Time, predictor: Segmenter, active: bool) -> DiagnosticStatus:
        """Report how this camera's images fare, see `Reporter`."""
        facts = {
            "model": predictor.model_name,
            "device": str(predictor.device),
            "precision": predictor.precision,
            "instances_subscribers": str(self._instances.get_subscription_count()),
        }
        is_time_for_hint = self._losses.end_period()
        facts["lost_in_transport"] = str(self._losses.total)
        if self._subscription is not None:
            facts |= self._subscription.facts
            if is_time_for_hint:
                self._hint_at_losses(facts["image_topic"], facts["reliability"])
        if self._depth is not None:
            facts |= {name: str(count) for name, count in self._depth.counts.items()}
        if self._target is not None:
            facts["transforms_missing"] = str(self._target.missing)
        follower = self._tracks.follower
        facts |= follower.facts(self._last_scene)
        status = self._reporter.report(now, facts, active)
        if active and status.level == DiagnosticStatus.OK and follower.is_lost:
            status.level, status.message = DiagnosticStatus.WARN, "the target is lost"
        return status

    def destroy(self) -> None:
        """Destroy the publishers of this camera's topics, and its service."""
        if self._follow_service is not None:
            self._node.destroy_service(self._follow_service)
        self._topics.destroy()

    def _hint_at_losses(self, topic: str, reliability: str) -> None:
        self._node.get_logger().warning(
            f"{topic}: {self._losses.total} images were published that did not reach this node."
            f" {advice_on_losses(reliability)}"
        )

    def _tell_bits(self, bits: int) -> None:
        self._node.get_logger().info(
            f"{self._topic}: the 16-bit images use {bits} bits so far and are scaled by that;"
            " if it is wrong, set the parameter image_bits."
        )
