"""What the bytes of a picture say without being decoded: its size, and whether it is whole.

JPEG: ITU-T T.81, annex B. PNG: https://www.w3.org/TR/png. TIFF: revision 6.0, section 2.
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
_SCAN, _END = 0xDA, 0xD9
# What may follow a scan: tables, further scans, what applications add, comments, the end.
_AFTER_SCAN = {0xC4, 0xCC, _END, *range(_SCAN, 0xDE), *range(0xE0, 0xF0), 0xFE}
_TIFF_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257


def declared_size(image: Buffer) -> tuple[int, int] | None:
    """Return the width and height in the header of a PNG, JPEG or TIFF.

    Return None for any other format and if the header is cut off.
    """
    data = memoryview(image)
    if data[:8] == PNG_START:
        return struct.unpack_from(">II", data, 16) if len(data) >= 24 else None
    if order := _TIFF_ORDERS.get(bytes(data[:4])):
        return _tiff_size(data, order)
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

    A JPEG may hold others, such as a thumbnail, and cameras write things behind the end; the end
    that counts is that of its own scans. A marker amid them that cannot be there is damage, and as
    good as the end of what can be decoded.
    """
    data = memoryview(image)
    if data[:8] == PNG_START:
        return re.search(re.escape(PNG_END), data) is None
    if data[:2] != JPEG_START:
        return False
    is_scanning = False
    for code, _ in _segments(data):
        is_scanning |= code == _SCAN
        if is_scanning and code not in _AFTER_SCAN:
            return True
        if code == _END:
            return not is_scanning
    return True


def _segments(data: memoryview) -> Iterator[tuple[int, int]]:
    """Yield the marker of each segment of a JPEG, and where the segment's length stands.

    The end has no length. What a scan holds behind its header is passed over.
    """
    at = 2
    while marker := _MARKER.search(data, at):
        at, code = marker.end(), data[marker.end() - 1]
        yield code, at
        if at + 2 > len(data):
            return
        at += struct.unpack_from(">H", data, at)[0]


def _tiff_size(data: memoryview, order: str) -> tuple[int, int] | None:
    """Return the width and height of a TIFF's first image; None if they are cut off."""
    sizes: dict[int, int] = {}
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", data, entry)
            is_short = kind == 3
            sizes[tag] = struct.unpack_from(f"{order}{'H' if is_short else 'I'}", data, entry + 8)[
                0
            ]
    except struct.error:
        return None
    if _TIFF_WIDTH not in sizes or _TIFF_HEIGHT not in sizes:
        return None
    return sizes[_TIFF_WIDTH], sizes[_TIFF_HEIGHT]
