"""What the node has from configure to cleanup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.duration import Duration

from sipmask_ros.node.channel import Channel
from sipmask_ros.node.connections import ConnectionWatch
from sipmask_ros.node.label_publisher import LabelPublisher
from sipmask_ros.node.target_frame import Transforms

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

    from sipmask_ros.node.parameters import Parameters
    from sipmask_ros.perception import Perception

# Most time that the final counts get to arrive.
LAST_REPORT = Duration(seconds=0.5)


class Configuration:
    """The cameras' channels, how images are seen, and the topics of the whole node.

    first_track_id: no id from this one on was given before.
    """

    def __init__(
        self,
        node: LifecycleNode,
        parameters: Parameters,
        perceive: Perception,
        first_track_id: int,
    ) -> None:
        self.parameters = parameters
        self.perceive = perceive
        self._node = node
        self._watch = ConnectionWatch(node, parameters.image_topics)
        self._transforms = Transforms(node) if parameters.target_frame else None
        self.channels = [
            Channel(node, topic, parameters, self._watch, first_track_id, self._transforms)
            for topic in parameters.image_topics
        ]
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._labels = LabelPublisher(node)

    @property
    def next_track_id(self) -> int:
        """The first id that no track of any camera has had."""
        return max(channel.tracker.next_id for channel in self.channels)

    def use(self, parameters: Parameters, perceive: Perception) -> None:
        """Use these from the next image on."""
        perceive.predictor.score_threshold = parameters.lowest_score
        self.parameters, self.perceive = parameters, perceive
        for channel in self.channels:
            channel.parameters = parameters

    def publish_labels(self) -> None:
        """Publish what class numbers mean by now."""
        self._labels.publish(self.perceive.predictor, self.parameters)

    def report(self, active: bool) -> None:
        """Publish how the images of each camera fare.

        active: False for the last report, which is given time to arrive.
        """
        now = self._node.get_clock().now()
        predictor = self.perceive.predictor
        report = DiagnosticArray(
            status=[channel.report(now, predictor, active) for channel in self.channels]
        )
        report.header.stamp = now.to_msg()
        self._diagnostics.publish(report)
        if not active:
            # A publisher that is destroyed takes along what has not arrived yet.
            self._diagnostics.wait_for_all_acked(LAST_REPORT)

    def destroy(self) -> None:
        """Let go of the topics and services."""
        self._watch.destroy()
        if self._transforms is not None:
            self._transforms.close()
        self._node.destroy_publisher(self._diagnostics)
        self._labels.destroy()
        for channel in self.channels:
            channel.destroy()
