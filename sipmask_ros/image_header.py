"""How large a compressed image says it is, before memory is taken for its pixels."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
# Of a segment with content. Decoders pass over what lies between segments and is no marker.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def declared_size(image: Buffer) -> tuple[int, int] | None:
    """The width and height in the header of a PNG (IHDR) or JPEG (frame header, ITU-T T.81 B.2.2).

    None for any other format and where the header is cut off.
    """
    data = memoryview(image)
    if data[:8] == _PNG:
        return struct.unpack_from(">II", data, 16) if len(data) >= 24 else None
    return _jpeg_size(data) if data[:2] == _JPEG else None


def _jpeg_size(data: memoryview) -> tuple[int, int] | None:
    at = 2
    while (marker := _MARKER.search(data, at)) and marker.end() + 7 <= len(data):
        at, code = marker.end(), data[marker.end() - 1]
        if code in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
        at += struct.unpack_from(">H", data, at)[0]
    return None
