"""Images that a camera published and that never came in."""

from __future__ import annotations

# Time for a hint: this share of the images is lost, in this many periods one after the other.
BAD_SHARE = 0.1
BAD_PERIODS = 3


class Losses:
    """Counts lost images by the numbers that the middleware gives to those of a publisher.

    A period lasts from one report to the next. One in which numbers fall does not count: there are
    several publishers, or the camera has started again.

    total: lost images so far.
    """

    def __init__(self) -> None:
        self.total = 0
        self._last: int | None = None
        self._received = 0
        self._missing = 0
        self._fell = False
        self._bad_periods = 0
        self._was_hinted = False

    def note(self, number: int | None) -> None:
        """Note an image that came in; its number is None if the middleware gives none."""
        if number is None:
            return
        if self._last is not None:
            self._missing += max(0, number - self._last - 1)
            self._fell |= number <= self._last
        self._last = number
        self._received += 1

    def end_period(self) -> bool:
        """Add up the period that ends now. Return whether it is time for the hint: at most once."""
        if self._received:
            missing = 0 if self._fell else self._missing
            self.total += missing
            bad = missing > BAD_SHARE * (missing + self._received)
            self._bad_periods = self._bad_periods + 1 if bad else 0
        self._received, self._missing, self._fell = 0, 0, False
        if self._was_hinted or self._bad_periods < BAD_PERIODS:
            return False
        self._was_hinted = True
        return True
