"""What a file is, by its first bytes, that was given in place of another: its name may say more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HEAD_BYTES = 512  # as many as `other_kind` wants, if there are so many

_ARCHIVES = (  # what packed it, where the magic number stands, the number
    ("a gzip", 0, b"\x1f\x8b"),
    ("a bzip2", 0, b"BZh"),
    ("an xz", 0, b"\xfd7zXZ"),
    ("a zstd", 0, b"\x28\xb5\x2f\xfd"),
    ("a zip", 0, b"PK\x03\x04"),
    ("a 7z", 0, b"7z\xbc\xaf\x27\x1c"),
    ("a rar", 0, b"Rar!"),
    ("a tar", 257, b"ustar"),
)
_WEB_PAGE = (
    "a web page (HTML): download the file again; Google Drive asks for a confirmation before it"
    " gives a large one"
)
_TEXTS = (  # in small letters, without blanks before them
    (b"<!doctype html", _WEB_PAGE),
    (b"<html", _WEB_PAGE),
    (b"<head", _WEB_PAGE),
    (b"<svg", "a drawing (SVG)"),
    (b"<", "XML, in which servers also say why they give no file"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file itself: fetch that with `git lfs pull`",
    ),
)
_HEIC = "an image in HEIC, which OpenCV does not read: convert it, or let the phone save JPEG"
_OTHERS = (  # where the magic number stands, the number, what it means
    (0, b"\x89MCAP0\r\n", "a recording (MCAP), which `sipmask evaluate bag` reads"),
    (0, b"#ROSBAG V", "a recording of ROS 1"),
    (0, b"%PDF", "a PDF document"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"\x89HDF\r\n", "an HDF5 file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"PAR1", "a Parquet table"),
    (0, b"SQLite format 3", "an SQLite database"),
    (0, b"GGUF", "a GGUF model"),
    *((4, b"ftyp" + brand, _HEIC) for brand in (b"heic", b"heix", b"hevc", b"heim", b"mif1")),
    *((4, b"ftyp" + brand, "a video") for brand in (b"isom", b"mp41", b"mp42", b"iso", b"qt")),
)


def first_bytes(path: Path) -> bytes:
    """Return the HEAD_BYTES with which a file begins; raise OSError if it cannot be read."""
    with path.open("rb") as stream:
        return stream.read(HEAD_BYTES)


def other_kind(head: bytes) -> str:
    """Return what a file is that begins so, and perhaps what to do: it continues "FILE is".

    head: its first HEAD_BYTES. "" if it is none of the files that people mistake for another one.
    """
    if not head:
        return "empty: copy or download it again"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, what in _TEXTS:
        if text.startswith(start):
            return what
    for name, at, magic in _ARCHIVES:
        if head[at:].startswith(magic):
            return f"{name} archive: unpack it, and give what was in it"
    for at, magic, what in _OTHERS:
        if head[at:].startswith(magic):
            return what
    return ""
