"""Where boxes should be by now, and how far off that may be: a Kalman filter for many at once.

A box moves at a constant velocity that slows down while nobody looks, and is seen with a noise in
proportion to its sides (Kalman, "A New Approach to Linear Filtering and Prediction Problems", 1960;
for boxes as in Bewley et al., "Simple Online and Realtime Tracking", ICIP 2016). So a box that
trembles is smoothed and gets no velocity by it. The sides have none: where one object slides in
front of another, the visible part shrinks, the object does not.

A motion is a row of 9 numbers: the box x0, y0, x1, y1 in pixels; the velocity of its centre in x
and y, pixels per second; and in units of the box's sides, equal for both axes, the variance of the
place, its covariance with the velocity, and the variance of the velocity per second.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

BOX_NOISE = 0.06  # box sides; standard deviation of what is seen
FIRST_SPEED = 2.0  # box sides per second; standard deviation of what is not yet known
SPEED_CHANGE = 2.0  # box sides per second; standard deviation of what a second adds
SPEED_HALF_LIFE = 0.5  # seconds after which an unseen object is thought half as fast
SIZE_GAIN = 0.5  # share of a surprise in size that is believed


def first_motions(boxes: Floats) -> Floats:
    """Of boxes (N, 4) that were never seen before: (N, 9)."""
    unknown = np.array([0, 0, BOX_NOISE**2, 0, FIRST_SPEED**2], np.float32)
    return np.concatenate([boxes, np.tile(unknown, (len(boxes), 1))], axis=1)


def predicted(motions: Floats, seconds: NDArray[np.float64]) -> Floats:
    """Motions (N, 9) after as many seconds (N,)."""
    decay = math.log(2) / SPEED_HALF_LIFE
    passed = seconds.astype(np.float32)
    kept = np.exp(-decay * passed)
    way = (1 - kept) / decay  # seconds at full speed that lead as far
    place, both, speed = motions[:, 6:].T
    noise = np.float32(SPEED_CHANGE**2) * passed
    result = np.empty_like(motions)
    result[:, :4] = motions[:, :4] + np.tile(motions[:, 4:6] * way[:, None], 2)
    result[:, 4:6] = motions[:, 4:6] * kept[:, None]
    result[:, 6] = place + way * (2 * both + way * (speed + noise / 3))
    result[:, 7] = kept * (both + way * speed) + way * noise / 2
    result[:, 8] = kept**2 * speed + noise
    return result


def corrected(motions: Floats, boxes: Floats) -> Floats:
    """Predicted motions (N, 9), now that the boxes (N, 4) are seen."""
    surprise = (boxes - motions[:, :4]).reshape(-1, 2, 2)  # of both corners
    move = surprise.mean(axis=1)
    growth = SIZE_GAIN / 2 * (surprise[:, 1] - surprise[:, 0])
    place, both, speed = motions[:, 6:].T
    gain, speed_gain = (part / (place + np.float32(BOX_NOISE**2)) for part in (place, both))
    believed = gain[:, None] * move
    result = np.empty_like(motions)
    result[:, :4] = motions[:, :4] + np.concatenate([believed - growth, believed + growth], axis=1)
    result[:, 4:6] = motions[:, 4:6] + speed_gain[:, None] * move
    result[:, 6] = (1 - gain) * place
    result[:, 7] = (1 - gain) * both
    result[:, 8] = speed - speed_gain * both
    return result


def uncertainty(motions: Floats) -> Floats:
    """Return the standard deviation of the places of motions (N, 9): (N,) box sides."""
    return np.sqrt(motions[:, 6])
