"""What image files tell at a glance: whether they are whole, and which way round they are."""

from __future__ import annotations

import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import IO, TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image

from sipmask_core.errors import InputError
from sipmask_core.imaging.image_files import read_image
from sipmask_core.imaging.image_header import (
    JPEG_END,
    JPEG_START,
    PNG_END,
    PNG_START,
    declared_size,
)
from sipmask_core.runtime.utf8_names import is_utf8

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

UPRIGHT = 1
_FIRST_ON_ITS_SIDE = 5  # from here to 8, width and height change places
_HEAD_BYTES = 1 << 16  # in which nearly every image declares its size
_USUAL_PIXELS = 1 << 30  # OpenCV's limit, unless the environment sets another
_THREADS = 8


class FirstLook(NamedTuple):
    """What an image file tells at a glance.

    defect: a sentence that says why it cannot be read; "" if nothing seems wrong.
    orientation: of EXIF, 1 (upright) to 8; 1 if it cannot be told or OpenCV does not apply it.
    size: (H, W) of the stored pixels, not of the turned ones; (0, 0) if it cannot be told.
    """

    path: Path
    defect: str
    orientation: int
    size: tuple[int, int]

    @property
    def is_on_its_side(self) -> bool:
        """Whether the orientation swaps a height and a width that differ."""
        return self.orientation >= _FIRST_ON_ITS_SIDE and self.size[0] != self.size[1]


def look_at(paths: Iterable[Path]) -> list[FirstLook]:
    """Look at each image file once, without decoding it, which takes a small part of the time.

    Only the ends of a JPEG or PNG and the first bytes of others tell whether a file is whole; one
    that looks wrong is then read to be sure.
    """
    _turned_formats()  # once, not in each thread
    # Pillow warns of much that does not matter here; filters are those of all threads.
    with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as pool:
        warnings.simplefilter("ignore")
        return list(pool.map(_look, paths))


def _look(path: Path) -> FirstLook:
    orientation, size = UPRIGHT, (0, 0)
    try:
        with path.open("rb") as stream:
            seems_whole = _seems_whole(stream, path)
            stream.seek(0)
            orientation, size = _orientation(stream)
    except OSError:
        seems_whole = False
    defect = ""
    if not seems_whole:
        try:
            read_image(path)
        except InputError as error:
            defect = str(error)
    return FirstLook(path, defect, orientation, size)


def _seems_whole(stream: IO[bytes], path: Path) -> bool:
    head = stream.read(_HEAD_BYTES)
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - len(PNG_END)))
    tail = stream.read()
    if head.startswith(JPEG_START):
        has_end = tail.endswith(JPEG_END)
    elif head.startswith(PNG_START):
        has_end = tail == PNG_END
    else:
        return is_utf8(path) and cv2.haveImageReader(str(path))
    width, height = declared_size(head) or (1, 1)
    return has_end and width * height <= _USUAL_PIXELS


def _orientation(stream: IO[bytes]) -> tuple[int, tuple[int, int]]:
    """Return an image's EXIF orientation and the stored (H, W), from its first bytes."""
    try:
        with Image.open(stream, formats=_turned_formats()) as image:
            # Not image.getexif(): it also looks at XMP, and OpenCV does not.
            exif = Image.Exif()
            exif.load(image.info.get("exif") or b"")
            value = exif.get(ExifTags.Base.Orientation, UPRIGHT)
            return (value if value in range(2, 9) else UPRIGHT), (image.height, image.width)
    except Exception:  # damaged files fail in many ways; `_look` says what is wrong with them
        return UPRIGHT, (0, 0)


@cache
def _turned_formats() -> tuple[str, ...]:
    """Return the formats of which OpenCV applies the orientation; of WebP, old versions do not."""
    return tuple(filter(_is_turned, ("JPEG", "PNG", "WEBP")))


def _is_turned(kind: str) -> bool:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    content = io.BytesIO()
    try:
        Image.new("RGB", (2, 1)).save(content, kind, exif=exif)
    except (KeyError, OSError):  # a Pillow that was built without it
        return False
    image = cv2.imdecode(np.frombuffer(content.getvalue(), np.uint8), cv2.IMREAD_COLOR)
    return image is not None and image.shape[:2] == (2, 1)
