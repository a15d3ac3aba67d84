"""Frames of tracks for tf2, if tf2_msgs is installed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from geometry_msgs.msg import TransformStamped

from sipmask_ros.conversions.geometry import to_vector

try:
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

if TYPE_CHECKING:
    from collections.abc import Mapping

    from std_msgs.msg import Header

    from sipmask_core.positions import Positions

__all__ = ["TFMessage", "positions_to_transforms"]

_NOT_OF_A_NAME = re.compile(r"\W+", re.ASCII)


def positions_to_transforms(
    positions: Positions, names: Mapping[int, str], header: Header
) -> TFMessage:
    """Return a tf2_msgs/TFMessage with a frame for each named position that is known.

    names: by index. A frame is called `<frame of the camera>_<name>`, with _ for all but letters
    and digits, and is a child of the camera's frame, turned as that is. header: of the image.
    Call it only if tf2_msgs is installed; if not, `TFMessage` is None.
    """
    camera = header.frame_id.strip("/")
    parent = type(header)(stamp=header.stamp, frame_id=camera)
    transforms = []
    for index, name in names.items():
        if positions.valid[index]:
            frame = TransformStamped(
                header=parent, child_frame_id=_NOT_OF_A_NAME.sub("_", f"{camera}_{name}")
            )
            frame.transform.translation = to_vector(positions.points[index].tolist())
            transforms.append(frame)
    return TFMessage(transforms=transforms)
