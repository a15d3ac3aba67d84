"""Which recorded images go into a data set."""

from __future__ import annotations

from dataclasses import dataclass

from sipmask_core.runtime.settings import check_settings, setting

SIMILAR = 8.0  # grey levels, if the command line names none


@dataclass(frozen=True)
class Selection:
    """Which images of each source are taken. Raise InputError if a value is out of range.

    Rates go by the times of the images.
    """

    every: int = setting(1, "Take one image in N.", minimum=1)
    rate: float | None = setting(None, "Take at most this many per second.", above=0, maximum=1000)
    limit: int | None = setting(None, "Stop after N images.", minimum=1)
    min_change: float = setting(
        0.0,
        "Leave out images like the one taken before: those in which no cell of a 16 x 16 grid"
        f" changed by this many of 255 grey levels ({SIMILAR:g} if no number is given); 0: none.",
        minimum=0,
        maximum=255,
    )

    def __post_init__(self) -> None:
        check_settings(self)
