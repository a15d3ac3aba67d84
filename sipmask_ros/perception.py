"""What becomes of images, live and from a recording: pixels, instances, ids, message."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sensor_msgs.msg import CompressedImage, Image

from sipmask_core.drawing import GREY, draw_instances
from sipmask_core.errors import InputError
from sipmask_core.inference.selection import lowest_scores
from sipmask_core.runtime.stopwatch import stage
from sipmask_ros.conversions.headers import stamp_seconds
from sipmask_ros.conversions.images import array_to_image, to_bgr
from sipmask_ros.conversions.instances import instances_to_message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from sipmask_core.inference.selection import IgnoredZones
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

    mask_encoding: of the InstanceArrays, see `instances_to_message`.
    classes: names of those to report; empty for all.
    class_thresholds: lowest scores by class; score_threshold: that of the other classes. Without
    class_thresholds the predictor's own threshold alone counts.

    Raises InputError for a class that the model does not know. A stopwatch that listens hears
    "decode", the stages of the predictor, "track" and "message".
    """

    predictor: Segmenter
    mask_encoding: str = "mono8"
    classes: tuple[str, ...] = ()
    score_threshold: float = 0.0
    class_thresholds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels_of(self.classes, self.predictor, "classes")
        labels_of(tuple(self.class_thresholds), self.predictor, "class_thresholds")

    def __call__(
        self,
        messages: Sequence[ImageMessage],
        trackers: Sequence[OnlineTracker | None],
        bit_depths: Sequence[BitDepth],
        zones: Sequence[IgnoredZones | None] | None = None,
    ) -> list[Percept]:
        """Segment images of different cameras, each with what is its camera's.

        None in place of a tracker leaves the instances without ids, None in place of zones leaves
        none out. Raise InputError if one of the images cannot be read; then no tracker has seen any
        of them.
        """
        with stage("decode"):
            images = list(map(to_bgr, messages, bit_depths))
        found = list(map(self._selected, self.predictor.predict_batch(images)))
        if zones is not None:
            found = [
                ignored.without(instances) if ignored else instances
                for instances, ignored in zip(found, zones, strict=True)
            ]
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

    @cached_property
    def _lowest_scores(self) -> NDArray[np.float32]:
        return lowest_scores(
            self.predictor.class_names, self.classes, self.score_threshold, self.class_thresholds
        )

    def _selected(self, instances: Instances) -> Instances:
        if not self.classes and not self.class_thresholds:
            return instances
        return instances[instances.scores >= self._lowest_scores[instances.labels]]

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
