"""What becomes of images, live and from a recording: pixels, instances, ids, message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from sipmask_core.drawing import GREY, draw_instances
from sipmask_core.errors import InputError
from sipmask_core.runtime.stopwatch import stage
from sipmask_ros.conversions.headers import stamp_seconds
from sipmask_ros.conversions.images import array_to_image, to_bgr
from sipmask_ros.conversions.instances import instances_to_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sipmask_core.instances import Instances
    from sipmask_core.segmenter import Segmenter
    from sipmask_core.tracking.online import OnlineTracker
    from sipmask_ros.conversions.bit_depth import BitDepth
    from sipmask_ros.msg import InstanceArray

ImageMessage: TypeAlias = Image | CompressedImage


class Percept(NamedTuple):
    """What was seen in an image. tracked: whether a tracker was asked for ids."""

    header: Any
    image: NDArray[np.uint8]
    instances: Instances
    tracked: bool


def labels_of(names: Sequence[str], predictor: Segmenter, parameter: str) -> list[int]:
    """Return the labels that a model has for these classes.

    Raise InputError, naming the parameter that they are from, for one that it does not know.
    """
    known = predictor.class_names
    for name in names:
        if name not in known:
            raise InputError(
                f"{parameter} has {name!r}; {predictor.model_name} knows {', '.join(known)}."
            )
    return [known.index(name) for name in names]


@dataclass(frozen=True)
class Perception:
    """Segments images and follows the objects in them.

    classes: names of those to report; empty for all.
    mask_encoding: of the InstanceArrays, see `instances_to_message`.

    Raises InputError for a class that the model does not know. A stopwatch that listens hears
    "decode", the stages of the predictor, "track" and "message".
    """

    predictor: Segmenter
    mask_encoding: str = "mono8"
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        labels_of(self.classes, self.predictor, "classes")

    def __call__(
        self,
        messages: Sequence[ImageMessage],
        trackers: Sequence[OnlineTracker | None],
        bit_depths: Sequence[BitDepth],
    ) -> list[Percept]:
        """Segment images of different cameras, each with tracker and bit depth of its camera.

        None in place of a tracker leaves the instances without ids. Raise InputError if one of the
        images cannot be read; then no tracker has seen any of them.
        """
        with stage("decode"):
            images = list(map(to_bgr, messages, bit_depths))
        found = [self._selected(instances) for instances in self.predictor.predict_batch(images)]
        with stage("track"):
            return [
                Percept(
                    message.header,
                    image,
                    tracker.update(instances, stamp_seconds(message.header))
                    if tracker
                    else instances,
                    tracked=tracker is not None,
                )
                for message, image, instances, tracker in zip(
                    messages, images, found, trackers, strict=True
                )
            ]

    def _selected(self, instances: Instances) -> Instances:
        if not self.classes:
            return instances
        labels = labels_of(self.classes, self.predictor, "classes")
        return instances[np.isin(instances.labels, labels)]

    def to_message(self, percept: Percept) -> InstanceArray:
        """Return the instances as they are published."""
        with stage("message"):
            return instances_to_message(
                percept.instances,
                percept.header,
                self.predictor.class_names,
                self.predictor.model_name,
                self.mask_encoding,
            )

    def draw(self, percept: Percept) -> NDArray[np.uint8]:
        """Return the image with the instances drawn in: (H, W, 3) uint8 BGR."""
        return draw_instances(
            percept.image,
            percept.instances,
            self.predictor.class_names,
            untracked=GREY if percept.tracked else None,
        )

    def to_overlay(self, percept: Percept) -> Image:
        """Return the picture that `draw` makes as it is published."""
        return array_to_image(self.draw(percept), "bgr8", percept.header)
