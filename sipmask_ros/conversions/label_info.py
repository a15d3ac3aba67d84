"""What a node's class numbers mean, for whoever subscribes, however late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from sipmask_ros.msg import LabelInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

# The last message stays with the publisher; a subscriber gets it if it asks for the same.
LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


def label_info_message(
    stamp: Any,
    model: str,
    class_names: Sequence[str],
    score_threshold: float,
    reported_classes: Sequence[str] = (),
) -> LabelInfo:
    """Return a sipmask_ros/LabelInfo that holds from `stamp` (builtin_interfaces/Time) on.

    class_names: by class_id. reported_classes: those of them that results contain; empty: all.
    """
    message = LabelInfo(
        model=model,
        class_names=list(class_names),
        reported_classes=list(reported_classes or class_names),
        score_threshold=score_threshold,
    )
    message.header.stamp = stamp
    return message
