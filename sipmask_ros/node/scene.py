"""What the outputs of one image share."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from sipmask_core.positions import Positions, locate
from sipmask_ros.conversions.masks import covered, label_image
from sipmask_ros.perception import labels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from sipmask_core.motion import Velocities
    from sipmask_ros.conversions.placement import Placement
    from sipmask_ros.node.camera_tracks import CameraTracks
    from sipmask_ros.node.depth_camera import DepthCamera, DepthView
    from sipmask_ros.node.parameters import Parameters
    from sipmask_ros.perception import Percept, Perception


class Scene:
    """An image, what was seen in it, and what follows from both: computed once, when asked for.

    parameters: as of this image. tracks: what is remembered of its camera. depth_camera: the one
    beside that camera, if there is one.
    """

    def __init__(
        self,
        percept: Percept,
        perceive: Perception,
        parameters: Parameters,
        tracks: CameraTracks,
        depth_camera: DepthCamera | None = None,
    ) -> None:
        self.percept = percept
        self.perceive = perceive
        self.parameters = parameters
        self.tracks = tracks
        self._depth_camera = depth_camera

    @property
    def class_names(self) -> Sequence[str]:
        """Names of the classes, by label."""
        return self.perceive.predictor.class_names

    @cached_property
    def picture(self) -> NDArray[np.uint8]:
        """The image with the instances drawn in, (H, W, 3) uint8 BGR."""
        return self.perceive.draw(self.percept)

    @cached_property
    def owners(self) -> NDArray[np.uint16]:
        """The instance that each pixel shows, (H, W): 0 is background, i + 1 instance i."""
        return label_image(self.percept.instances)

    @cached_property
    def ignored(self) -> NDArray[np.uint8]:
        """Where the parameter `ignore_classes` and its margin let nothing count: (H, W), 255."""
        wanted = self.parameters
        labels = labels_of(wanted.ignore_classes, self.perceive.predictor, "ignore_classes")
        return covered(self.percept.instances, labels, wanted.ignore_margin)

    @cached_property
    def depth(self) -> DepthView | None:
        """The depth image that belongs to the image; None if there is none that can be used."""
        if self._depth_camera is None:
            return None
        return self._depth_camera.view(self.percept.header, self.percept.instances.image_size)

    @cached_property
    def positions(self) -> Positions:
        """Where the instances are, in the camera's optical frame; unknown without depth."""
        instances, depth = self.percept.instances, self.depth
        if depth is None:
            return Positions.unknown(len(instances))
        return locate(instances, depth.values, depth.unit, depth.lens)

    @cached_property
    def placement(self) -> Placement | None:
        """How the camera stood in `target_frame`, or in its own frame if there is none.

        None if tf2 could not tell.
        """
        return self.tracks.placement(self.percept.header)

    @cached_property
    def velocities(self) -> Velocities:
        """How fast the instances move, in the frame of the placement."""
        percept = self.percept
        return self.tracks.velocities(
            percept.header, percept.instances, self.positions, self.placement
        )
