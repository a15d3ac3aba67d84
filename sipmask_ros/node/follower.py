"""The one track of a camera that `~/target` shows, chosen by `~/follow`."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from sipmask_core.errors import InputError, first_of
from sipmask_core.instances import UNTRACKED, TrackState
from sipmask_core.runtime.stopwatch import distribution
from sipmask_ros.conversions.target import target_to_message
from sipmask_ros.node.diagnostics import LATENCY_WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from geometry_msgs.msg import PoseStamped

    from sipmask_core.tracking.online import OnlineTracker
    from sipmask_ros.node.scene import Scene
    from sipmask_ros.srv import Follow

MOST_IDS = 8  # that one sentence names


class Follower:
    """Remembers which track is followed, until it ends or another is chosen.

    tracker: of the camera. age: tells the seconds since a header's stamp, None if it has none.
    """

    def __init__(self, tracker: OnlineTracker, age: Callable[[Any], float | None]) -> None:
        self.track_id = UNTRACKED
        self._tracker = tracker
        self._age = age
        self._latencies: deque[float] = deque(maxlen=LATENCY_WINDOW)
        self._published = 0
        self._reported = time.monotonic()

    @property
    def is_lost(self) -> bool:
        """Whether the track that is followed has ended, so that it will not be seen again."""
        return self.track_id != UNTRACKED and self.track_id not in self._tracker.living

    def choose(self, request: Follow.Request, scene: Scene | None) -> str:
        """Follow what the request asks for from the next image on, and say what that is.

        scene: the last image; None if there is none. Raise InputError if there is no such track;
        then all stays as it was.
        """
        chosen, name = int(request.track_id), request.class_name
        if chosen == UNTRACKED and not name:
            self.track_id = UNTRACKED
            return "Nothing is followed."
        if chosen == UNTRACKED:
            chosen, distance = _nearest(name, scene)
            sentence = f"Track {chosen} is followed, the nearest {name}, {distance:.2f} m away."
        else:
            self._check(chosen)
            sentence = f"Track {chosen} is followed."
        self._latencies.clear()
        self.track_id = chosen
        return sentence

    def _check(self, track_id: int) -> None:
        living = sorted(self._tracker.living)
        if track_id not in living:
            names = first_of(living, MOST_IDS)
            present = f"there are {names}" if living else "there is none at present"
            raise InputError(f"There is no track {track_id}; {present}.")

    def pose(self, scene: Scene) -> PoseStamped | None:
        """Return where the track is in this image, see `target_to_message`.

        None if it is hidden, its depth or `target_frame` is not known, or nothing is followed.
        """
        if self.track_id == UNTRACKED:
            return None
        (rows,) = np.nonzero(scene.percept.instances.track_ids == self.track_id)
        if not len(rows) or not scene.positions.valid[rows[0]] or scene.placement is None:
            return None
        header = scene.percept.header
        message = target_to_message(scene.positions.points[rows[0]], scene.placement, header)
        self._published += 1
        if (age := self._age(header)) is not None:
            self._latencies.append(age)
        return message

    def facts(self, scene: Scene | None) -> dict[str, str]:
        """Return what /diagnostics says: the track, whether it is seen, rate since the last call.

        scene: the last image. Nothing if no track is followed.
        """
        now = time.monotonic()
        rate, self._published = self._published / max(now - self._reported, 1e-3), 0
        self._reported = now
        if self.track_id == UNTRACKED:
            return {}
        is_seen = scene is not None and self.track_id in scene.percept.instances.track_ids
        state = "lost" if self.is_lost else "seen" if is_seen else "hidden"
        facts = {"target_track": str(self.track_id), "target_state": state}
        facts["target_rate_hz"] = f"{rate:.1f}"
        latency = distribution(1e3 * np.array(self._latencies))
        facts |= {f"target_latency_{k}_ms": f"{latency[k]:.1f}" for k in ("p50", "p99") if latency}
        return facts


def _nearest(class_name: str, scene: Scene | None) -> tuple[int, float]:
    """Return the id of the nearest confirmed track of a class, and how many metres away it is."""
    if scene is None:
        raise InputError(
            "No image was segmented yet, so no track is known; images are segmented while someone"
            " subscribes to an output, such as ~/target."
        )
    if class_name not in scene.class_names:
        raise InputError(
            f"class_name is {class_name!r}; the model knows {', '.join(scene.class_names)}."
        )
    instances = scene.percept.instances
    eligible = (
        np.isin(instances.labels, [i for i, n in enumerate(scene.class_names) if n == class_name])
        & (instances.track_states == TrackState.CONFIRMED)
        & scene.positions.valid
    )
    distances = np.where(eligible, np.linalg.norm(scene.positions.points, axis=1), np.inf)
    if not eligible.any():
        raise InputError(
            f"The last image shows no confirmed track of class {class_name!r} with a position."
        )
    index = int(distances.argmin())
    return int(instances.track_ids[index]), float(distances[index])
