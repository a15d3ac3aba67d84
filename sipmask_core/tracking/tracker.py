"""Which objects of successive frames are the same: ids that last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sipmask_core.errors import InputError
from sipmask_core.tracking.online import OnlineTracker
from sipmask_core.tracking.settings import TrackerSettings
from sipmask_core.tracking.youtube_vis import YoutubeVisTracker

if TYPE_CHECKING:
    from sipmask_core.instances import Instances

Mode = Literal["online", "youtube-vis"]


class Tracker:
    """Gives the instances of successive frames ids that stay with their objects.

    mode: "online" can run for days: it forgets what is gone and uses no id twice; see
        `OnlineTracker`. "youtube-vis" is the authors' association for short videos, which needs the
        embeddings of a preset with a track branch and never forgets; see `YoutubeVisTracker`.
    settings: of the online mode.

    Raises InputError for an unknown mode, and for settings with the mode that has none.

    >>> import numpy as np
    >>> import sipmask_core as sm
    >>> def frame(x):  # one object, at column x
    ...     mask = np.ones((20, 20), bool)
    ...     box = np.array([[x, 10, x + 20, 30]], np.float32)
    ...     score, label = np.array([0.9], np.float32), np.array([0])
    ...     return sm.Instances(box, score, label, [sm.MaskCrop(x, 10, mask)], (48, 64))
    >>> tracker = sm.Tracker()
    >>> [int(tracker.update(frame(x), stamp=x / 30).track_ids[0]) for x in (5, 6, 7)]
    [0, 0, 0]
    """

    def __init__(self, mode: Mode = "online", settings: TrackerSettings | None = None) -> None:
        self._tracker: OnlineTracker | YoutubeVisTracker
        if mode == "online":
            self._tracker = OnlineTracker(settings or TrackerSettings())
        elif mode != "youtube-vis":
            raise InputError(f"mode is {mode!r}; it must be online or youtube-vis.")
        elif settings is not None:
            raise InputError("The mode youtube-vis has no settings; online has.")
        else:
            self._tracker = YoutubeVisTracker()

    def reset(self) -> None:
        """Forget all objects; online, their ids are not used again."""
        self._tracker.reset()

    def update(self, instances: Instances, stamp: float | None = None) -> Instances:
        """Return the next frame's instances, in the same order, with track ids (-1: untracked).

        stamp: time of the frame in seconds, from which the online mode knows how much time has
        passed; None means that frames come at 30 Hz. The online mode also gives states and ages.
        Raises InputError for a stamp that is not finite, for embeddings of another length than
        before, and if the mode needs embeddings and there are none.
        """
        if isinstance(self._tracker, OnlineTracker):
            return self._tracker.update(instances, stamp)
        return self._tracker.update(instances)
