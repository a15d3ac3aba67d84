"""Image files: which ones a folder holds, and reading them or saying what is wrong with them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from sipmask_core.errors import InputError
from sipmask_core.imaging.image_header import declared_size, is_cut_off
from sipmask_core.runtime.signatures import HEAD_BYTES, other_kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Not every OpenCV is built with these.
_BY_BUILD = {".avif", ".gif", ".jp2", ".tif", ".tiff", ".webp"}
# What OpenCV here reads as 8 bits. Without .pfm and .exr, whose numbers it does not scale to them.
IMAGE_SUFFIXES = frozenset(
    {".apng", ".bmp", ".dib", ".hdr", ".jfif", ".jpe", ".jpeg", ".jpg", ".pam", ".pbm", ".pgm"}
    | {".pic", ".png", ".pnm", ".ppm", ".pxm", ".ras", ".sr"}
    | {suffix for suffix in _BY_BUILD if cv2.haveImageWriter(f"x{suffix}")}
)
_UNDECODED = "cannot be decoded as an image"


class ImageFolder(NamedTuple):
    """What a folder holds, without hidden files; its folders are not looked into.

    images: sorted by the numbers in their names, 2.png before 10.png. others: how many other files
    there are of each suffix in lower case, and of folders ("folders").
    """

    images: list[Path]
    others: Counter[str]

    def left_out(self) -> str:
        """Return what is no image as a list, such as "2 .json, 1 .mp4"; "" if there is nothing."""
        return ", ".join(f"{count} {kind}" for kind, count in sorted(self.others.items()))


def images_in(folder: Path) -> ImageFolder:
    """List a folder's images. Raise InputError if it cannot be read or holds none."""
    found = ImageFolder([], Counter())
    try:
        for file in folder.iterdir():
            if file.name.startswith("."):
                continue
            if file.is_dir():
                found.others["folders"] += 1
            elif file.suffix.lower() in IMAGE_SUFFIXES:
                found.images.append(file)
            else:
                found.others[file.suffix.lower() or "without suffix"] += 1
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read: {error.strerror}.") from None
    if not found.images:
        others = f" It holds {found.left_out()}." if found.others else ""
        raise InputError(
            f"The folder {folder} holds no image; expected files that end in"
            f" {' '.join(sorted(IMAGE_SUFFIXES))}.{others}"
        )
    found.images.sort(key=_natural_key)
    return found


def _natural_key(file: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", file.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def read_image(path: Path, as_stored: bool = False) -> NDArray[np.uint8]:
    """Read an image file as (H, W, 3) uint8 BGR, turned upright as its EXIF orientation says.

    as_stored: leave the pixels as they lie in the file.
    Raise InputError, which names the file, if it is missing, damaged, cut off or too large.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"Image {path} does not exist.") from None
    except OSError as error:
        raise InputError(f"Image {path} cannot be read: {error.strerror}.") from None
    if not content:
        raise InputError(f"Image {path} is empty.")
    if is_cut_off(content):
        raise InputError(f"Image {path} is cut off or damaged: its end is missing.")
    try:
        flags = cv2.IMREAD_COLOR | (cv2.IMREAD_IGNORE_ORIENTATION if as_stored else 0)
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise InputError(f"Image {path} {_refusal(content, error)}.") from None
    if image is None:
        kind = other_kind(content[:HEAD_BYTES])
        raise InputError(f"Image {path} {f'is {kind}' if kind else _UNDECODED}.")
    return np.asarray(image, np.uint8)


def _refusal(content: bytes, error: cv2.error) -> str:
    if "CV_IO_MAX_IMAGE" in str(error):
        size = declared_size(content)
        pixels = f"{size[0]} x {size[1]}" if size else "too many"
        return f"has {pixels} pixels, more than OpenCV reads, or its header is damaged"
    reason = str(getattr(error, "err", "")) or str(error).strip()
    return f"{_UNDECODED}: {reason.splitlines()[0]}"
