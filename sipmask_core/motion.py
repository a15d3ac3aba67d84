"""How fast tracked objects move: straight lines through where they were seen last.

A track's velocity is the slope of the line that fits its latest positions best, each weighted by
how well its depth is known. How far the positions lie off that line says how good the velocity is,
whatever made them: noise of the camera, masks that tremble, or an object that turns.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sipmask_core.instances import UNTRACKED

if TYPE_CHECKING:
    from collections.abc import Set

    from numpy.typing import NDArray

LEAST_SIGHTINGS = 3  # that make a velocity: two always lie on a line
WINDOW = 1.0  # seconds; older sightings count only if there are no LEAST_SIGHTINGS without them
MOST_SIGHTINGS = 32  # of a track that are kept
# Metres. A surface whose depths do not differ at all is not known better than this.
_LEAST_DEVIATION = 0.01
# Metres: positions come from depths in steps of this size, so they have at least its noise.
_STEP = 0.001


class Velocities(NamedTuple):
    """How fast N objects move; NaN if that is not known.

    values: (N, 3) float64, metres per second. deviations: (N,) float64, the standard deviation of
    each of the three components, as a root mean square.
    """

    values: NDArray[np.float64]
    deviations: NDArray[np.float64]

    @classmethod
    def unknown(cls, count: int) -> Velocities:
        """Return velocities of `count` objects, none of them known."""
        return cls(np.full((count, 3), np.nan), np.full(count, np.nan))


@dataclass
class _Sightings:
    """The latest of one track, in a ring: stamp, x, y, z, deviation."""

    ring: NDArray[np.float64] = field(default_factory=lambda: np.full((MOST_SIGHTINGS, 5), np.nan))
    count: int = 0

    def add(self, sighting: tuple[float, ...]) -> None:
        self.ring[self.count % MOST_SIGHTINGS] = sighting
        self.count += 1


class TrackMotions:
    """Remembers where the tracks of one camera were seen, and tells how fast they move.

    It keeps MOST_SIGHTINGS of each track that lives. If time jumps back, all are forgotten.
    """

    def __init__(self) -> None:
        self._tracks: defaultdict[int, _Sightings] = defaultdict(_Sightings)
        self._stamp = -np.inf

    def __len__(self) -> int:
        return len(self._tracks)

    def update(
        self,
        stamp: float,
        track_ids: NDArray[np.int64],
        points: NDArray[np.float64],
        deviations: NDArray[np.float64],
        living: Set[int],
    ) -> Velocities:
        """Return the velocities of N objects of the next image, those seen in it included.

        stamp: of the image, seconds. track_ids: (N,), -1 if untracked. points: (N, 3) metres, in a
        frame that stays the same; NaN if not known. deviations: (N,) metres, of their depths.
        living: the ids of all tracks that may be seen again; others are forgotten.

        A velocity is not known before the third sighting, nor in an image without a position.
        """
        ended = self._tracks.keys() - living if stamp >= self._stamp else set(self._tracks)
        for track_id in ended:
            del self._tracks[track_id]
        (known,) = np.nonzero(np.isfinite(points).all(axis=1) & (track_ids != UNTRACKED))
        seen = {index: self._tracks[int(track_ids[index])] for index in known.tolist()}
        if stamp != self._stamp:  # an image that comes twice shows nothing new
            for index, track in seen.items():
                track.add((stamp, *points[index], deviations[index]))
        self._stamp = stamp
        ready = {i: track for i, track in seen.items() if track.count >= LEAST_SIGHTINGS}
        found = Velocities.unknown(len(track_ids))
        if ready:
            rings = np.stack([track.ring for track in ready.values()])
            counts = np.array([track.count for track in ready.values()])
            rows = list(ready)
            found.values[rows], found.deviations[rows] = _slopes(rings, counts, stamp)
        return found


def _slopes(
    rings: NDArray[np.float64], counts: NDArray[np.int64], now: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit a line to each of M rings (M, K, 5) with as many sightings so far (M,).

    Return the slopes (M, 3) and their standard deviations (M,).
    """
    age = now - rings[..., 0]  # (M, K)
    newest = (counts[:, None] - 1 - np.arange(rings.shape[1])) % rings.shape[1]
    used = (age <= WINDOW) | (newest < LEAST_SIGHTINGS)  # NaN is not
    n = used.sum(axis=1)
    rings = np.where(used[..., None], rings, 0)
    weights = used / (rings[..., 4] ** 2 + _LEAST_DEVIATION**2)
    weights /= weights.sum(axis=1, keepdims=True)
    times = np.where(used, -age, 0)
    times -= (weights * times).sum(axis=1, keepdims=True)
    points = rings[..., 1:4]
    points = points - np.einsum("mk,mkd->md", weights, points)[:, None]
    spread = (weights * times**2).sum(axis=1)  # (M,)
    slopes = np.einsum("mk,mkd->md", weights * times, points) / spread[:, None]
    rest = points - times[..., None] * slopes[:, None]
    # Three coordinates share one variance; of n sightings each, a line takes two.
    variance = np.einsum("mk,mkd->m", weights, rest**2) / (3 * (n - 2))
    return slopes, np.sqrt(np.maximum(variance, _STEP**2 / n) / spread)
