"""What the names of image topics mean, by convention."""

from __future__ import annotations

import re

COMPRESSED_DEPTH = "/compressedDepth"  # what image_transport adds to the name of a depth topic

_RECTIFIED = re.compile(r"(?<![^\W\d_])rect(ified)?(?![^\W\d_])", re.IGNORECASE)


def compressed_topic(topic: str) -> str:
    """Return where image_transport publishes the CompressedImages of a topic; itself if it is that.

    topic: a whole name, which begins with a slash.
    """
    return topic if topic.endswith("/compressed") else f"{topic}/compressed"


def is_rectified(topic: str) -> bool:
    """Return whether a topic carries rectified images: its last part has a word for that.

    The word is "rect" or "rectified", and ends at underscores and digits: it is in image_rect_raw,
    not in direct.
    """
    return _RECTIFIED.search(topic.rpartition("/")[2]) is not None
