"""Boxes in space as messages of vision_msgs, if that package is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sipmask_core.instances import UNTRACKED
from sipmask_ros.conversions.geometry import to_point, to_vector

try:
    from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose
except ImportError:
    Detection3DArray = None

if TYPE_CHECKING:
    from collections.abc import Sequence

    from std_msgs.msg import Header

    from sipmask_core.instances import Instances
    from sipmask_core.positions import Positions

__all__ = ["Detection3DArray", "positions_to_detections"]


def positions_to_detections(
    positions: Positions, instances: Instances, header: Header, class_names: Sequence[str]
) -> Detection3DArray:
    """Return the boxes of known positions as a vision_msgs/Detection3DArray, in the same order.

    header: of the segmented image, of the array and of each detection. Boxes are metres in the
    camera's optical frame, along its axes. `class_id` is the name of the class, `id` the track id,
    empty if an instance has none; the hypothesis has the pose of the box.
    Call it only if vision_msgs is installed; if not, `Detection3DArray` is None.
    """
    return Detection3DArray(
        header=header,
        detections=[
            _detection(
                header,
                class_names[int(instances.labels[index])],
                float(instances.scores[index]),
                int(instances.track_ids[index]),
                positions.boxes[index].mean(axis=0).tolist(),
                (positions.boxes[index, 1] - positions.boxes[index, 0]).tolist(),
            )
            for index in np.flatnonzero(positions.valid).tolist()
        ],
    )


def _detection(
    header: Header,
    class_name: str,
    score: float,
    track_id: int,
    centre: Sequence[float],
    size: Sequence[float],
) -> Any:
    guess = ObjectHypothesisWithPose()
    guess.hypothesis.class_id = class_name
    guess.hypothesis.score = score
    detection = Detection3D(
        header=header, results=[guess], id="" if track_id == UNTRACKED else str(track_id)
    )
    detection.bbox.center.position = to_point(centre)
    detection.bbox.size = to_vector(size)
    guess.pose.pose = detection.bbox.center
    return detection
