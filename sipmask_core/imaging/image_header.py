"""What the bytes of a JPEG or PNG say without being decoded: its size, and whether it is whole.

JPEG: ITU-T T.81, annex B. PNG: https://www.w3.org/TR/png.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB`\x82"
# Of a segment with content. Decoders skip what lies between segments and is no marker.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA


def declared_size(image: Buffer) -> tuple[int, int] | None:
    """Return the width and height in the header of a PNG or JPEG.

    Return None for any other format and if the header is cut off.
    """
    data = memoryview(image)
    if data[:8] == PNG_START:
        return struct.unpack_from(">II", data, 16) if len(data) >= 24 else None
    if data[:2] != JPEG_START:
        return None
    for code, at in _segments(data):
        if code in _FRAMES:
            if at + 7 > len(data):
                return None
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
    return None


def is_cut_off(image: Buffer) -> bool:
    """Return whether a PNG or JPEG lacks its end; False for any other format.

    A thumbnail within a JPEG has an end of its own, and cameras write things behind the end.
    """
    data = memoryview(image)
    if data[:8] == PNG_START:
        return re.search(re.escape(PNG_END), data) is None
    if data[:2] != JPEG_START or data[-2:] == JPEG_END:
        return False
    scan = next((at for code, at in _segments(data) if code == _SCAN), len(data))
    return re.search(JPEG_END, data[scan:]) is None


def _segments(data: memoryview) -> Iterator[tuple[int, int]]:
    """Yield the marker of each segment of a JPEG, and where the segment's length stands."""
    at = 2
    while (marker := _MARKER.search(data, at)) and marker.end() + 2 <= len(data):
        at, code = marker.end(), data[marker.end() - 1]
        yield code, at
        at += struct.unpack_from(">H", data, at)[0]
