"""Instances as messages of vision_msgs, if that package is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose
except ImportError:
    Detection2DArray = None

__all__ = ["Detection2DArray", "instances_to_detections"]

if TYPE_CHECKING:
    from collections.abc import Sequence

    from std_msgs.msg import Header

    from sipmask_core.instances import Instances


def instances_to_detections(
    instances: Instances, header: Header, class_names: Sequence[str]
) -> Detection2DArray:
    """Return instances as a vision_msgs/Detection2DArray, in the same order, without their masks.

    `header` is that of the segmented image, of the array and of each detection. `class_id` is the
    name of the class, `id` the track id, empty if an instance has none. Boxes are in pixels;
    poses stay unset. Call it only if vision_msgs is installed; if not, `Detection2DArray` is None.
    """
    return Detection2DArray(
        header=header,
        detections=[
            _detection(header, class_names[label], score, track_id, box)
            for label, score, track_id, box in zip(
                instances.labels.tolist(),
                instances.scores.tolist(),
                instances.track_ids.tolist(),
                instances.boxes.tolist(),
                strict=True,
            )
        ],
    )


def _detection(
    header: Header, class_name: str, score: float, track_id: int, box: Sequence[float]
) -> Any:
    x0, y0, x1, y1 = box
    guess = ObjectHypothesisWithPose()
    guess.hypothesis.class_id = class_name
    guess.hypothesis.score = score
    detection = Detection2D(
        header=header, results=[guess], id="" if track_id < 0 else str(track_id)
    )
    detection.bbox.center.position.x = (x0 + x1) / 2
    detection.bbox.center.position.y = (y0 + y1) / 2
    detection.bbox.size_x = x1 - x0
    detection.bbox.size_y = y1 - y0
    return detection
