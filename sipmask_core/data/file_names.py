"""Names of image files in annotation files, and the files that they mean on this machine."""

from __future__ import annotations

import os
import unicodedata
from contextlib import suppress
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit


def image_path(image_dir: Path, file_name: str) -> Path:
    """Return the path of an image that an annotation file names.

    If there is no file of exactly this name, it is looked for with slashes for the backslashes of
    Windows, in Unicode's other forms (macOS takes letters and their accents apart), by the last
    part of its name alone, and by what the name means as an address (my%20photo.jpg?size=2). If
    there is none either, the name is taken as it is.
    """
    exact = Path(image_dir) / file_name
    if os.path.isfile(exact):  # noqa: PTH113 -- Path.is_file raises for names too long
        return exact
    slashed = plain_name(file_name)
    for name in (slashed, PurePosixPath(slashed).name, *_addressed(slashed)):
        for form in ("NFC", "NFD"):
            path = Path(image_dir) / unicodedata.normalize(form, name)
            if os.path.isfile(path):  # noqa: PTH113
                return path
    return exact


def _addressed(name: str) -> list[str]:
    """Return the file names that a name may mean as an address, if it looks like one."""
    if "%" not in name and "?" not in name:
        return []
    try:
        parts = urlsplit(name)
    except ValueError:  # such as an unclosed [
        return []
    # Label Studio serves local files as /data/local-files/?d=folder/name.
    files = (unquote(parts.path), *parse_qs(parts.query).get("d", ()))
    return [part for file in files for part in (file, PurePosixPath(file).name) if part]


def similar_file(image_dir: Path, file_name: str) -> str | None:
    """Return a file of the folder that has the same name but for case and suffix, if there is."""
    wanted = PurePosixPath(plain_name(file_name)).stem.casefold()
    with suppress(OSError):
        for name in sorted(os.listdir(image_dir)):  # noqa: PTH208 -- a folder may be huge
            if PurePosixPath(plain_name(name)).stem.casefold() == wanted:
                return name
    return None


def plain_name(file_name: str) -> str:
    """Return a name by which files of different machines are compared: slashes, letters whole."""
    return unicodedata.normalize("NFC", file_name.replace("\\", "/"))
