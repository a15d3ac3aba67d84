"""What the values of a label mask mean, as vision_msgs says it, if that package is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sipmask_ros.conversions.masks import MOST_CLASSES

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:
    LabelInfo = None

__all__ = ["LabelInfo", "vision_label_info_message"]

if TYPE_CHECKING:
    from collections.abc import Sequence


def vision_label_info_message(
    stamp: Any,
    class_names: Sequence[str],
    score_threshold: float,
    reported_classes: Sequence[str] = (),
) -> LabelInfo:
    """Return a vision_msgs/LabelInfo that holds from `stamp` (builtin_interfaces/Time) on.

    class_names: by class id. reported_classes: those of them that results contain; empty: all. Only
    these are in the message, by their value in a label mask, which is the class id + 1; a class
    beyond its 8 bits is left out. Call it only if vision_msgs is installed; if not, `LabelInfo` is
    None.
    """
    message = LabelInfo(
        class_map=[
            VisionClass(class_id=label + 1, class_name=name)
            for label, name in enumerate(class_names[:MOST_CLASSES])
            if not reported_classes or name in reported_classes
        ],
        threshold=score_threshold,
    )
    message.header.stamp = stamp
    return message
