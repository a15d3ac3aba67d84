"""The topics beside `~/instances`: each is made of an image only while someone subscribes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from sipmask_ros.conversions.depth import depth_without, positions_to_message
from sipmask_ros.conversions.detections import Detection2DArray, instances_to_detections
from sipmask_ros.conversions.detections_3d import Detection3DArray, positions_to_detections
from sipmask_ros.conversions.images import array_to_image, array_to_jpeg
from sipmask_ros.conversions.markers import MarkerArray, positions_to_markers
from sipmask_ros.conversions.masks import confidence, label_mask
from sipmask_ros.conversions.points import instance_points, points_to_message
from sipmask_ros.conversions.track_frames import TFMessage, positions_to_transforms
from sipmask_ros.msg import InstancePositionArray

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipmask_ros.node.parameters import Parameters
    from sipmask_ros.node.scene import Scene


@dataclass(frozen=True)
class Output:
    """A topic of each camera.

    name: a topic of the camera's, or with a slash in front a topic that others share. kind: of its
    messages; None if their package is not installed, then there is no such topic. make: returns the
    message of an image, None if there is nothing to say of it. queue: messages kept for slow
    subscribers. needs_depth: only cameras with a depth topic have it. switch: the parameter, true
    or false, that it depends on; empty for none.
    """

    name: str
    kind: type | None
    make: Callable[[Scene], Any]
    queue: int = 10
    needs_depth: bool = False
    switch: str = ""


def _target(scene: Scene) -> PoseStamped | None:
    return scene.tracks.follower.pose(scene)


def _positions(scene: Scene) -> InstancePositionArray:
    percept, depth = scene.percept, scene.depth
    return positions_to_message(
        scene.positions,
        scene.velocities,
        percept.instances,
        percept.header,
        scene.class_names,
        float("nan") if depth is None else depth.delay,
        scene.tracks.frame(percept.header),
    )


def _frames(scene: Scene) -> Any:
    percept = scene.percept
    names = scene.tracks.names(percept.instances, scene.class_names)
    return positions_to_transforms(scene.positions, names, percept.header)


def _detections(scene: Scene) -> Any:
    percept = scene.percept
    return instances_to_detections(percept.instances, percept.header, scene.class_names)


def _points(scene: Scene) -> PointCloud2 | None:
    percept, depth = scene.percept, scene.depth
    if depth is None:  # an empty cloud would say that nothing is there
        return None
    points = instance_points(
        percept.instances,
        scene.owners,
        percept.image,
        depth.values,
        depth.unit,
        depth.lens,
        scene.parameters.points_stride,
    )
    return points_to_message(points, percept.header)


def _label_mask(scene: Scene) -> Image:
    return array_to_image(label_mask(scene.percept.instances), "mono8", scene.percept.header)


def _confidence(scene: Scene) -> Image:
    return array_to_image(confidence(scene.percept.instances), "mono8", scene.percept.header)


def _ignore_mask(scene: Scene) -> Image:
    return array_to_image(scene.ignored, "mono8", scene.percept.header)


def _depth_without(scene: Scene) -> Image | None:
    depth = scene.depth
    if depth is None:
        return None
    left = depth_without(depth.values, scene.ignored)
    encoding = "32FC1" if left.dtype.kind == "f" else "16UC1"
    return array_to_image(left, encoding, depth.message.header)


def _detections_3d(scene: Scene) -> Any:
    percept = scene.percept
    return positions_to_detections(
        scene.positions, percept.instances, percept.header, scene.class_names
    )


def _markers(scene: Scene) -> Any:
    percept = scene.percept
    return positions_to_markers(
        scene.positions,
        scene.velocities,
        percept.instances,
        percept.header,
        scene.class_names,
        percept.tracked,
    )


def _overlay(scene: Scene) -> Image:
    return array_to_image(scene.picture, "bgr8", scene.percept.header)


def _compressed_overlay(scene: Scene) -> CompressedImage:
    quality = scene.parameters.overlay_quality
    return array_to_jpeg(scene.picture, quality, scene.percept.header)


def _label_image(scene: Scene) -> Image:
    return array_to_image(scene.owners, "mono16", scene.percept.header)


# In the order in which they are published.
OUTPUTS = (
    Output("target", PoseStamped, _target, queue=1, needs_depth=True),
    Output("positions", InstancePositionArray, _positions, needs_depth=True),
    Output("/tf", TFMessage, _frames, queue=100, needs_depth=True, switch="publish_tf"),
    Output("detections", Detection2DArray, _detections),
    Output("points", PointCloud2, _points, queue=1, needs_depth=True),
    Output("label_mask", Image, _label_mask, queue=1),
    Output("confidence", Image, _confidence, queue=1),
    Output("ignore_mask", Image, _ignore_mask, queue=1),
    Output("depth_without", Image, _depth_without, queue=1, needs_depth=True),
    Output("detections_3d", Detection3DArray, _detections_3d, needs_depth=True),
    Output("markers", MarkerArray, _markers, needs_depth=True),
    Output("overlay", Image, _overlay, queue=1),
    Output("overlay/compressed", CompressedImage, _compressed_overlay, queue=1),
    Output("label_image", Image, _label_image, queue=1),
)


def outputs_of(parameters: Parameters) -> list[Output]:
    """Return what there is of `OUTPUTS` with these parameters and the packages installed."""
    return [
        output
        for output in OUTPUTS
        if output.kind is not None
        and (parameters.depth_topics or not output.needs_depth)
        and (not output.switch or getattr(parameters, output.switch))
    ]
