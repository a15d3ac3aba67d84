"""Which recorded images go into a data set."""

from __future__ import annotations

from dataclasses import dataclass

from sipmask_core.runtime.settings import check_settings, setting


@dataclass(frozen=True)
class Selection:
    """Which images of each source are taken. Raise InputError if a value is out of range.

    Rates go by the times of the images.
    """

    every: int = setting(1, "Take one image in N.", minimum=1)
    rate: float | None = setting(None, "Take at most this many a second.", above=0, maximum=1000)
    limit: int | None = setting(None, "End after N images.", minimum=1)
    min_change: float = setting(
        0.0,
        "Leave out images like the one taken before: those in which no cell of a 16 x 16 grid"
        " changed by this many of 255 grey levels.",
        minimum=0,
        maximum=255,
    )

    def __post_init__(self) -> None:
        check_settings(self)
