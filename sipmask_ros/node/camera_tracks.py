"""What is remembered of one camera's tracks: how they move, their names, and who is followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipmask_core.instances import TrackState
from sipmask_core.motion import TrackMotions, Velocities
from sipmask_ros.conversions.headers import stamp_seconds
from sipmask_ros.conversions.placement import Placement
from sipmask_ros.node.follower import Follower

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from std_msgs.msg import Header

    from sipmask_core.instances import Instances
    from sipmask_core.positions import Positions
    from sipmask_core.tracking.online import OnlineTracker
    from sipmask_ros.node.target_frame import TargetFrame


class CameraTracks:
    """The memory of one camera; a track that has ended is forgotten.

    age: tells the seconds since a header's stamp, None if it has none. target: None if
    `target_frame` is empty; then all is relative to the camera.
    """

    def __init__(
        self,
        tracker: OnlineTracker,
        age: Callable[[Any], float | None],
        target: TargetFrame | None = None,
    ) -> None:
        self.follower = Follower(tracker, age)
        self.target = target
        self._tracker = tracker
        self._motions = TrackMotions()
        self._labels: dict[int, int] = {}

    def frame(self, header: Header) -> str:
        """Return the frame of `placement`, that of the camera if there is no target."""
        return header.frame_id if self.target is None else self.target.name

    def placement(self, header: Header) -> Placement | None:
        """Return how the camera stood in `target_frame`; None if that is not known."""
        return Placement.itself(header) if self.target is None else self.target.placement(header)

    def velocities(
        self,
        header: Header,
        instances: Instances,
        positions: Positions,
        placement: Placement | None,
    ) -> Velocities:
        """Return how fast the instances of the next image move in the frame of `placement`."""
        stamp = stamp_seconds(header)
        if placement is None or stamp is None:
            return Velocities.unknown(len(instances))
        return self._motions.update(
            stamp,
            instances.track_ids,
            placement.points(positions.points),
            positions.deviations,
            self._tracker.living,
        )

    def names(self, instances: Instances, class_names: Sequence[str]) -> dict[int, str]:
        """Return a name, such as `person_7`, for each confirmed track by its index in the image.

        A track keeps the class that it had when it was first named.
        """
        living = self._tracker.living
        self._labels = {i: label for i, label in self._labels.items() if i in living}
        names = {}
        for index, (track_id, state, label) in enumerate(
            zip(
                instances.track_ids.tolist(),
                instances.track_states.tolist(),
                instances.labels.tolist(),
                strict=True,
            )
        ):
            if state == TrackState.CONFIRMED:
                label = self._labels.setdefault(track_id, label)
                names[index] = f"{class_names[label]}_{track_id}"
        return names
