"""Trackers that people use, from the package `trackers`, under the report's interface.

They take boxes and scores only, so each class gets a tracker of its own. `pip install trackers`
(Apache-2.0, by Roboflow) brings them; the project does not depend on it.

SORT: Bewley et al., ICIP 2016. ByteTrack: Zhang et al., ECCV 2022. OC-SORT: Cao et al., CVPR 2023.
C-BIoU: Yang et al., WACV 2023. BoT-SORT: Aharon et al., arXiv 2206.14651.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sipmask_core.instances import UNTRACKED
from sipmask_core.tracking.settings import TrackerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipmask_core.instances import Instances

FPS = 30
_OURS = TrackerSettings()
# The online tracker's defaults, where a peer has the like; the rest stays as its authors have it.
LIKE_OURS = {
    "frame_rate": float(FPS),
    "lost_track_buffer": round(FPS * _OURS.max_lost_seconds),
    "minimum_consecutive_frames": _OURS.confirm_after,
}
NEW = {"track_activation_threshold": _OURS.new_score}
WEAK = {"high_conf_det_threshold": _OURS.new_score}
# In the first frame, too, an object must be confirmed.
EQUAL_START = {"instant_first_frame_activation": False}
# Camera motion is estimated from images, which made-up videos do not have.
NO_IMAGES = {"enable_cmc": False}
PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    "SORT": ("SORTTracker", NEW),
    "ByteTrack": ("ByteTrackTracker", NEW | WEAK),
    "OC-SORT": ("OCSORTTracker", WEAK),
    "C-BIoU": ("CBIoUTracker", NEW | WEAK | EQUAL_START),
    "BoT-SORT": ("BoTSORTTracker", NEW | WEAK | EQUAL_START | NO_IMAGES),
}


class Peer:
    """One peer, a tracker for each class."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._by_label: dict[int, Any] = {}
        self._ids: dict[tuple[int, int], int] = {}  # by label and the peer's own

    def update(self, instances: Instances, stamp: float) -> Instances:
        """Return the instances with track ids; those that the peer does not report have none."""
        ids = np.full(len(instances), UNTRACKED, np.int64)
        for label in {*self._by_label, *instances.labels.tolist()}:
            if label not in self._by_label:
                self._by_label[label] = self._make()
            chosen = np.flatnonzero(instances.labels == label)
            tracked = self._by_label[label].update(_detections(instances, chosen), timestamp=stamp)
            rows = [] if tracked.tracker_id is None else tracked.tracker_id.tolist()
            for row, number in enumerate(rows):
                if number >= 0:
                    index = tracked.data["index"][row]
                    ids[index] = self._ids.setdefault((label, number), len(self._ids))
        return replace(instances, track_ids=ids)


def available_peers() -> dict[str, Callable[[], Any]]:
    """How to make each peer, by name; none where the package is not installed."""
    try:
        package = importlib.import_module("trackers")
    except ModuleNotFoundError:
        return {}
    return {name: _maker(package, *peer) for name, peer in PEERS.items()}


def _maker(package: Any, class_name: str, options: dict[str, Any]) -> Callable[[], Peer]:
    return lambda: Peer(lambda: getattr(package, class_name)(**LIKE_OURS, **options))


def _detections(instances: Instances, chosen: Any) -> Any:
    supervision = importlib.import_module("supervision")
    return supervision.Detections(
        xyxy=instances.boxes[chosen].astype(np.float64),
        confidence=instances.scores[chosen].astype(np.float64),
        data={"index": chosen},
    )
