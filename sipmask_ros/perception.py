"""What becomes of one image, live and from a recording: pixels, instances, ids, message."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sensor_msgs.msg import CompressedImage, Image

from sipmask_core.drawing import GREY, draw_instances
from sipmask_ros.conversions import array_to_image, instances_to_message, to_bgr

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sipmask_core.instances import Instances
    from sipmask_core.online_tracker import OnlineTracker
    from sipmask_core.predictor import Predictor
    from sipmask_ros.msg import InstanceArray

ImageMessage: TypeAlias = Image | CompressedImage

STAGES = ("decode", "predict", "track")


class Percept(NamedTuple):
    """What was seen in an image; seconds: what each of STAGES took."""

    header: Any
    image: NDArray[np.uint8]
    instances: Instances
    seconds: tuple[float, float, float]


class Perception:
    """Segments the images of one camera and follows the objects in them.

    tracker: of this camera; None leaves the instances untracked.
    mask_encoding: of the InstanceArrays, see `instances_to_message`.
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

    def __call__(self, message: ImageMessage) -> Percept:
        """Raises InputError for an image that cannot be read."""
        began = time.perf_counter()
        image = to_bgr(message)
        decoded = time.perf_counter()
        instances = self._predictor(image)
        predicted = time.perf_counter()
        if self._tracker is not None:
            instances = self._tracker.update(instances, stamp_seconds(message.header))
        ended = time.perf_counter()
        seconds = (decoded - began, predicted - decoded, ended - predicted)
        return Percept(message.header, image, instances, seconds)

    def to_message(self, percept: Percept) -> InstanceArray:
        """The instances as they are published."""
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
