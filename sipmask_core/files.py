"""Writing files so that a reader sees the old one or the whole new one, never half of it."""

from __future__ import annotations

import json
import os
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends without an exception.

    The temporary name keeps the suffix, because encoders choose the format by it. Missing parent
    folders are made. When the block raises, what it wrote is removed and `path` is untouched; the
    same when it wrote nothing.
    Raises InputError when the folder cannot be made, `path` is a folder, or writing fails.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    if path.is_dir():
        raise InputError(f"Cannot write {path}: it is a folder, a file name is expected.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot make the folder {path.parent}: {error.strerror}.") from None
    try:
        yield temporary
        if temporary.exists():
            temporary.replace(path)
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror or error}.") from None
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(path: Path | str) -> None:
    """Raises InputError where `path` could not be written, before the work and not after it.

    Missing parent folders are made; `path` itself stays as it is.
    """
    with atomic_path(path) as temporary:
        temporary.touch()
        temporary.unlink()


def write_json(path: Path | str, record: Any) -> None:
    """Write `record` as indented JSON, atomically. Raises InputError when it cannot be written."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def write_image(path: Path | str, image: NDArray[np.uint8]) -> None:
    """Write an (H, W, 3) BGR image in the format that the suffix names, atomically.

    Raises InputError when it cannot be written.
    """
    import cv2

    encoded = cv2.imencode(Path(path).suffix, image)[1]
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def write_zip(path: Path | str, name: str, content: str) -> None:
    """Write a zip that holds one text file of that name, atomically; same content, same bytes.

    Raises InputError when it cannot be written.
    """
    member = zipfile.ZipInfo(name)  # dated 1980
    member.external_attr = 0o644 << 16
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(member, content, zipfile.ZIP_DEFLATED)
