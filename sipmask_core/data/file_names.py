"""Names of image files in annotation files, and the files that they mean on this machine."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PurePosixPath


def image_path(image_dir: Path, file_name: str) -> Path:
    """Return the path of an image that an annotation file names.

    If there is no file of exactly this name, it is looked for with slashes for the backslashes of
    Windows, in Unicode's other forms (macOS takes letters and their accents apart), and by the last
    part of its name alone. If there is none either, the name is taken as it is.
    """
    exact = Path(image_dir) / file_name
    if os.path.isfile(exact):  # noqa: PTH113 -- Path.is_file raises for names too long
        return exact
    slashed = plain_name(file_name)
    for name in (slashed, PurePosixPath(slashed).name):
        for form in ("NFC", "NFD"):
            path = Path(image_dir) / unicodedata.normalize(form, name)
            if os.path.isfile(path):  # noqa: PTH113
                return path
    return exact


def plain_name(file_name: str) -> str:
    """Return a name by which files of different machines are compared: slashes, letters whole."""
    return unicodedata.normalize("NFC", file_name.replace("\\", "/"))
