"""A limit on images per second that spaces them evenly."""

from __future__ import annotations

import math


class RateLimit:
    """Says which of a row of images to let pass, so that `rate` of them pass per second.

    If the camera's rate is no multiple of it, gaps differ by one interval of the camera.
    rate: per second; 0 lets all pass. It can be changed at any time.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._last = -math.inf

    def allows(self, now: float) -> bool:
        """Return whether an image that comes now (seconds of a monotonic clock) may pass."""
        rate = self.rate
        if not rate:
            return True
        due = self._last + 1 / rate
        if now < due:
            return False
        # Counting from when it was due keeps the mean rate; a pause is not made up for.
        self._last = due if now - due < 1 / rate else now
        return True
