"""Write files so that a reader sees the old one or the whole new one, never half of it."""

from __future__ import annotations

import json
import os
import zipfile
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipmask_core.errors import InputError, WriteError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from typing_extensions import Self


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn errors of the system in writing `path`, such as a full disk, into a WriteError."""
    try:
        yield
    except OSError as error:
        raise WriteError(f"Cannot write {path}: {error.strerror or error}.") from None


@contextmanager
def pending_path(path: Path | str) -> Iterator[Path]:
    """Do as `atomic_path`, for a block that does more than write: its own OSErrors stay."""
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    with writing(path):
        if path.is_dir():
            raise InputError(f"Cannot write {path}: it is a folder, a file name is expected.")
        make_folder(path.parent)
    try:
        yield temporary
        with writing(path):
            if temporary.exists():
                temporary.replace(path)
            elif not path.parent.is_dir():
                raise InputError(f"Cannot write {path}: its folder was removed meanwhile.")
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed to it if the block ends without an exception.

    The temporary name keeps the suffix, because encoders choose the format by it. Missing parent
    folders are made. If the block raises, what it wrote is removed, and `path` stays untouched, as
    it does if the block writes nothing.
    Raises InputError if the folder cannot be made or is removed, if `path` is a folder, and if
    writing fails.
    """
    with writing(path), pending_path(path) as temporary:
        yield temporary


class PiecewiseWriter(ABC):
    """Base of what is written piece by piece in a `with` block: opens it, and closes it in order.

    Subclasses give `_open`. Raises InputError if `path` cannot be written, at the end of the block
    at which that shows; in between, subclasses write under `writing`.
    """

    path: Path

    @abstractmethod
    def _open(self, stack: ExitStack) -> None:
        """Open what is written; `stack` closes it and knows whether the block failed."""

    def __enter__(self) -> Self:
        with writing(self.path), ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with writing(self.path):
            self._stack.__exit__(kind, error, trace)


def make_folder(path: Path) -> None:
    """Make a folder and its parents if they are missing; raise InputError if that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot make the folder {path}: {error.strerror}.") from None


def require_file(path: Path, kind: str) -> None:
    """Raise InputError unless `path` is a file; `kind` names it in messages: "checkpoint"."""
    try:
        if path.is_dir():
            raise InputError(f"{str(path)!r} is a folder; a {kind} file is expected.")
        if not path.is_file():
            raise InputError(f"There is no {kind} file {str(path)!r}.")
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}.") from None


def require_writable(path: Path | str) -> None:
    """Raise InputError if `path` cannot be written, before the work and not after it.

    Missing parent folders are made; `path` itself stays as it is.
    """
    with atomic_path(path) as temporary:
        temporary.touch()
        temporary.unlink()


def write_json(path: Path | str, record: Any) -> None:
    """Write `record` as indented JSON, atomically; raise InputError if it cannot be written."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def write_image(path: Path | str, image: NDArray[np.uint8]) -> None:
    """Write an (H, W, 3) BGR image in the format that the suffix names, atomically.

    Raises InputError if it cannot be written.
    """
    import cv2

    encoded = cv2.imencode(Path(path).suffix, image)[1]
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def write_figure(path: Path | str, figure: Figure) -> None:
    """Write a matplotlib figure in the format that the suffix names, without one PNG, atomically.

    Raise InputError if it cannot be written.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix.removeprefix(".") or "png", dpi=110)


def write_zip(path: Path | str, name: str, content: str) -> None:
    """Write a zip that holds one text file of that name, atomically; same content, same bytes.

    Raises InputError if it cannot be written.
    """
    member = zipfile.ZipInfo(name)  # dated 1980, whenever it is written
    member.external_attr = 0o644 << 16
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(member, content, zipfile.ZIP_DEFLATED)
