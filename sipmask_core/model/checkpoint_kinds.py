"""What a file that is given as a checkpoint really is, by its first bytes.

What people have instead of weights is named, with what to do about it.
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Literal

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

Format = Literal["safetensors", "torch"]

_HEAD_BYTES = 512
_WEB_PAGE = (b"<!doctype", b"<html", b"<head", b"<?xml")
_LFS = b"version https://git-lfs"
_ZIP = b"PK\x03\x04"
_ARCHIVES = (  # name, where the magic number stands, the number
    ("gzip", 0, b"\x1f\x8b"),
    ("bzip2", 0, b"BZh"),
    ("xz", 0, b"\xfd7zXZ"),
    ("zstd", 0, b"\x28\xb5\x2f\xfd"),
    ("7z", 0, b"7z\xbc\xaf\x27\x1c"),
    ("rar", 0, b"Rar!"),
    ("tar", 257, b"ustar"),
)


def checkpoint_format(path: Path) -> Format:
    """Return how the file stores weights, whatever its name ends in.

    Raise InputError, which says what it is, if it holds none, and OSError if it cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    what = _other_kind(path, head)
    if what:
        raise InputError(f"{str(path)!r} is {what}.")
    header_length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and header_length <= path.stat().st_size - 8:
        return "safetensors"
    is_torch = head.startswith((_ZIP, b"\x80"))  # a zip or a pickle
    return "safetensors" if path.suffix == ".safetensors" and not is_torch else "torch"


def _other_kind(path: Path, head: bytes) -> str:
    """Return what the file is and what to do; "" if it may hold weights."""
    if not head:
        return "empty: copy or download it again"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_WEB_PAGE):
        return (
            "a web page (HTML), not a checkpoint: download it again; Google Drive asks for a"
            " confirmation before it gives a large file"
        )
    if head.startswith(_LFS):
        return "a Git LFS pointer, not the checkpoint itself: fetch that with `git lfs pull`"
    for name, at, magic in _ARCHIVES:
        if head[at:].startswith(magic):
            return f"a {name} archive: unpack it, and give the checkpoint that was in it"
    return _kind_of_zip(path) if head.startswith(_ZIP) else ""


def _kind_of_zip(path: Path) -> str:
    """Return what a zip is if torch.save did not write it; otherwise ""."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return "cut off or damaged: copy or download it again"
    if any(name.endswith("/constants.pkl") for name in names):
        return (
            "a TorchScript program, which can only be run; save the state_dict() of the model it"
            " was made of"
        )
    if not any(name.endswith("/data.pkl") for name in names):
        return "a zip archive: unpack it, and give the checkpoint that was in it"
    return ""
