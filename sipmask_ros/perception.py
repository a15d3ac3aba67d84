"""What becomes of one image, live and from a recording: pixels, instances, ids, message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sensor_msgs.msg import CompressedImage, Image

from sipmask_core.drawing import GREY, draw_instances
from sipmask_core.stopwatch import stage
from sipmask_ros.conversions import array_to_image, instances_to_message, to_bgr

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from sipmask_core.instances import Instances
    from sipmask_core.online_tracker import OnlineTracker
    from sipmask_core.predictor import Predictor
    from sipmask_ros.msg import InstanceArray

ImageMessage: TypeAlias = Image | CompressedImage


class Percept(NamedTuple):
    """What was seen in an image."""

    header: Any
    image: NDArray[np.uint8]
    instances: Instances


class Perception:
    """Segments the images of one camera and follows the objects in them.

    tracker: of this camera; None leaves the instances untracked.
    mask_encoding: of the InstanceArrays, see `instances_to_message`.

    A stopwatch that listens hears "decode", the stages of the predictor, "track" and "message".
    """

    def __init__(
        self,
        predictor: Predictor,
        tracker: OnlineTracker | None = None,
        mask_encoding: str = "mono8",
    ) -> None:
        self._predictor = predictor
        self._tracker = tracker
        self._mask_encoding = mask_encoding

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self._predictor.device

    def __call__(self, message: ImageMessage) -> Percept:
        """Raises InputError for an image that cannot be read."""
        with stage("decode"):
            image = to_bgr(message)
        instances = self._predictor(image)
        if self._tracker is not None:
            with stage("track"):
                instances = self._tracker.update(instances, stamp_seconds(message.header))
        return Percept(message.header, image, instances)

    def to_message(self, percept: Percept) -> InstanceArray:
        """The instances as they are published."""
        with stage("message"):
            return instances_to_message(
                percept.instances,
                percept.header,
                self._predictor.class_names,
                self._predictor.model_name,
                self._mask_encoding,
            )

    def to_overlay(self, percept: Percept) -> Image:
        """The image with the instances drawn in, as it is published."""
        picture = draw_instances(
            percept.image,
            percept.instances,
            self._predictor.class_names,
            untracked=None if self._tracker is None else GREY,
        )
        return array_to_image(picture, "bgr8", percept.header)


def stamp_nanoseconds(header: Any) -> int:
    """The header's stamp; 0 where the camera left it empty."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def stamp_seconds(header: Any) -> float | None:
    """The header's stamp in seconds; None where the camera left it empty."""
    return stamp_nanoseconds(header) * 1e-9 or None
