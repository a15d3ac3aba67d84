"""The latched topics that say what class numbers mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sipmask_ros.conversions import vision_label_info
from sipmask_ros.conversions.label_info import LATCHED, label_info_message
from sipmask_ros.msg import LabelInfo

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

    from sipmask_core.segmenter import Segmenter
    from sipmask_ros.node.parameters import Parameters


class LabelPublisher:
    """Says what class numbers mean, from configure to cleanup.

    `~/label_info` is of the instances. `~/vision_label_info` is of the label masks, in the message
    that Nav2 reads, and there only if vision_msgs is installed.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._own = node.create_publisher(LabelInfo, "~/label_info", LATCHED)
        self._vision: Any = None
        if vision_label_info.LabelInfo is not None:
            kind = vision_label_info.LabelInfo
            self._vision = node.create_publisher(kind, "~/vision_label_info", LATCHED)

    def publish(self, predictor: Segmenter, parameters: Parameters) -> None:
        """Publish what holds from now on."""
        now = self._node.get_clock().now().to_msg()
        names, threshold = predictor.class_names, parameters.score_threshold
        self._own.publish(
            label_info_message(now, predictor.model_name, names, threshold, parameters.classes)
        )
        if self._vision is not None:
            message = vision_label_info.vision_label_info_message(
                now, names, threshold, parameters.classes
            )
            self._vision.publish(message)

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in (self._own, self._vision):
            if publisher is not None:
                self._node.destroy_publisher(publisher)
