"""The file names of recorded images: their topic, then the stamp or the number of the image."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

# Of a stamp in nanoseconds since 1970: as written, enough until 2286; and the fewest that are read
# as a stamp and not as a frame number, which stamps have without zeros since 12 January 1970.
_STAMP_DIGITS = 19
_FEWEST_STAMP_DIGITS = 16
_FRAME_DIGITS = 6


def file_prefix(topic: str) -> str:
    """Return what the file names of a topic's images begin with; no two topics have the same.

    ROS names contain no dash, so that dashes can stand for their slashes.
    """
    return topic.strip("/").replace("/", "-") + "-"


def image_name(topic: str, number: int, stamp: int = 0) -> str:
    """Return the name, without suffix, of image `number` of a topic; by its stamp (ns), if any."""
    digits = f"{stamp:0{_STAMP_DIGITS}}" if stamp else f"{number:0{_FRAME_DIGITS}}"
    return file_prefix(topic) + digits


def is_of(topic: str, file_name: str) -> bool:
    """Return whether `image_name` gives the topic's images names such as this one."""
    stem = PurePosixPath(file_name).stem
    return re.fullmatch(re.escape(file_prefix(topic)) + "[0-9]+", stem) is not None


def stamp_or_frame(file_name: str) -> tuple[str, int] | None:
    """Return ("stamp", ns) or ("frame", number) by the digits that end a name; None without any."""
    digits = re.search(r"[0-9]+$", PurePosixPath(file_name).stem)
    if digits is None:
        return None
    kind = "stamp" if len(digits[0]) >= _FEWEST_STAMP_DIGITS else "frame"
    return kind, int(digits[0])
