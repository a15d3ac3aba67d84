"""The stamps of message headers."""

from __future__ import annotations

from typing import Any


def stamp_nanoseconds(header: Any) -> int:
    """Return the header's stamp in nanoseconds; 0 if the camera left it empty."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def stamp_seconds(header: Any) -> float | None:
    """Return the header's stamp in seconds; None if the camera left it empty."""
    return stamp_nanoseconds(header) * 1e-9 or None
