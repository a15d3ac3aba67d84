"""The topics beside `~/instances`: each is made of an image only while someone subscribes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sensor_msgs.msg import Image

from sipmask_ros.conversions.depth import positions_to_message
from sipmask_ros.conversions.detections import Detection2DArray, instances_to_detections
from sipmask_ros.conversions.images import array_to_image
from sipmask_ros.conversions.instances import label_image
from sipmask_ros.msg import InstancePositionArray

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipmask_ros.node.parameters import Parameters
    from sipmask_ros.node.scene import Scene


@dataclass(frozen=True)
class Output:
    """A topic of each camera.

    kind: of its messages; None if their package is not installed, then there is no such topic.
    make: returns the message of an image. queue: messages kept for slow subscribers. needs_depth:
    only cameras with a depth topic have it.
    """

    name: str
    kind: type | None
    make: Callable[[Scene], Any]
    queue: int = 10
    needs_depth: bool = False


def _positions(scene: Scene) -> InstancePositionArray:
    percept, depth = scene.percept, scene.depth
    return positions_to_message(
        scene.positions,
        percept.instances,
        percept.header,
        scene.class_names,
        float("nan") if depth is None else depth.delay,
    )


def _detections(scene: Scene) -> Any:
    percept = scene.percept
    return instances_to_detections(percept.instances, percept.header, scene.class_names)


def _overlay(scene: Scene) -> Image:
    return scene.perceive.to_overlay(scene.percept)


def _label_image(scene: Scene) -> Image:
    percept = scene.percept
    return array_to_image(label_image(percept.instances), "mono16", percept.header)


# In the order in which they are published.
OUTPUTS = (
    Output("positions", InstancePositionArray, _positions, needs_depth=True),
    Output("detections", Detection2DArray, _detections),
    Output("overlay", Image, _overlay, queue=1),
    Output("label_image", Image, _label_image, queue=1),
)


def outputs_of(parameters: Parameters) -> list[Output]:
    """Return what there is of `OUTPUTS` with these parameters and the packages installed."""
    return [
        output
        for output in OUTPUTS
        if output.kind is not None and (parameters.depth_topics or not output.needs_depth)
    ]
