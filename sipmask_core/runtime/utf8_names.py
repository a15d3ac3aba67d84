"""Names of files for libraries that take text alone; on Linux a name may be any bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def is_utf8(path: Path | str) -> bool:
    """Return whether a name is UTF-8; OpenCV ends the process at any that is not."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def utf8_name(path: Path | str) -> str:
    """Return the whole name of a file. Raise InputError if it is not UTF-8."""
    if not is_utf8(path):
        shown = str(path).encode(errors="backslashreplace").decode()
        raise InputError(f"The name {shown} is not UTF-8, which OpenCV takes alone: rename it.")
    return str(path)
