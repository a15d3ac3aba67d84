"""Read frames from an image, a folder, a video file, a camera or a stream; write videos."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np

from sipmask_core.errors import InputError
from sipmask_core.imaging.image_files import IMAGE_SUFFIXES, images_in, read_image
from sipmask_core.runtime.files import PiecewiseWriter, pending_path
from sipmask_core.runtime.provenance import sha256, sha256_of_all
from sipmask_core.runtime.signatures import first_bytes, other_kind
from sipmask_core.runtime.utf8_names import is_utf8, utf8_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from numpy.typing import NDArray

FPS_WHERE_UNKNOWN = 30.0  # folders, and videos whose header does not say
# A video that ends before this share of the frames that its header announces was cut off. Headers
# are estimates, so a few missing frames mean nothing.
_COMPLETE_SHARE = 0.9
_STREAM_TIMEOUT_MS = 5000
# Files that FFmpeg takes for text and makes a video of, letter by letter.
_DRAWN_TEXT = {".ans", ".art", ".asc", ".diz", ".ice", ".nfo", ".txt", ".vt"}
# Images of several pictures: those that can be read as a video, and those that cannot.
_ANIMATIONS = {".apng", ".gif", ".png"}
_SEVERAL = {".avif", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Frame:
    """One image of a source.

    name: the file's name for an image, `<video's name>:<index>` for a frame of a video.
    index: 0-based position in the source; unreadable images keep theirs.
    image: (H, W, 3) uint8 BGR.
    """

    name: str
    index: int
    image: NDArray[np.uint8]


class Frames:
    """Iterates over the frames of one source, once.

    source: an image file, whatever its name ends in, a folder of images (in natural order, not
        recursive), a video file (a GIF or PNG of several pictures is one), a camera device
        ("/dev/video0"), a stream URL ("rtsp://..."), or one of these files as "file://...".
    camera_size: (width, height) that a camera device is asked for; it may deliver another.

    is_video: whether neighbouring frames follow each other in time.
    is_live: whether it is a camera or a stream, which has no end of its own.
    count: how many frames to expect; None for cameras and streams, and if a video does not say. A
        video's header may be wrong.
    fps: frames per second; None for images, and if the video does not say.
    unreadable: one sentence for each image that could not be read so far, which is skipped, and
        one for a video that ended early.
    left_out: a sentence on what else a folder holds; "" if there is nothing.

    Raises InputError if the source as a whole cannot be opened.
    """

    def __init__(self, source: Path | str, camera_size: tuple[int, int] | None = None) -> None:
        self.source = _local(str(source))
        self.name = Path(self.source).name
        self.count: int | None = None
        self.fps: float | None = None
        self.unreadable: list[str] = []
        self.left_out = ""
        self._capture: cv2.VideoCapture | None = None
        self._files: list[Path] = []
        path = Path(self.source)
        # Path.exists raises for names too long.
        if "://" not in self.source and not os.path.exists(path):  # noqa: PTH110
            raise InputError(
                f"{self.source} does not exist; expected an image, a folder of images, a video, "
                "a camera device such as /dev/video0 or a stream URL."
            )
        if path.is_dir():
            folder = images_in(path)
            self._files = folder.images
            if folder.others:
                self.left_out = f"Left out of {path}, which are no images: {folder.left_out()}."
        elif path.is_file() and _is_picture(path):
            self._files = [path]
            if (count := _picture_count(path)) > 1:
                self.left_out = (
                    f"Left out of {path}: all but the first of its {count} pictures; give it as a"
                    " video or as a folder of images to have them all."
                )
        else:
            self._capture = self._open_video(camera_size)
        self.is_video = self._capture is not None
        self.is_live = self.is_video and not path.is_file()
        if not self.is_video:
            self.count = len(self._files)

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the video or camera; closing twice is harmless."""
        if self._capture is not None:
            self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        return self._video_frames() if self.is_video else self._image_frames()

    def _image_frames(self) -> Iterator[Frame]:
        for index, file in enumerate(self._files):
            try:
                image = read_image(file)
            except InputError as error:
                self.unreadable.append(str(error))
            else:
                yield Frame(file.name, index, image)

    def _open_video(self, camera_size: tuple[int, int] | None) -> cv2.VideoCapture:
        if "://" in self.source:
            # A dead stream must not block its reader for good.
            timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC]
            options = [item for key in timeouts for item in (key, _STREAM_TIMEOUT_MS)]
            capture = cv2.VideoCapture(utf8_name(self.source), cv2.CAP_FFMPEG, options)
        elif Path(self.source).suffix.lower() in _DRAWN_TEXT:
            raise InputError(f"{self.source} is a text; expected an image, a video or a folder.")
        else:
            capture = cv2.VideoCapture(utf8_name(self.source))
        if not capture.isOpened():
            kind = _other_kind(Path(self.source))
            raise InputError(
                f"{self.source} is {kind}."
                if kind
                else f"{self.source} cannot be opened as a video, a camera or a stream; image files"
                f" end in {' '.join(sorted(IMAGE_SUFFIXES))}."
            )
        if Path(self.source).is_file():
            count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            self.count = count if count > 0 else None
        elif camera_size is not None:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, camera_size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, camera_size[1])
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps < 1000 else None
        return capture

    def _video_frames(self) -> Iterator[Frame]:
        assert self._capture is not None
        index = 0
        while True:
            there, image = self._capture.read()
            if not there:
                break
            yield Frame(f"{self.name}:{index}", index, np.asarray(image, np.uint8))
            index += 1
        expected = self.count or 1
        if index < _COMPLETE_SHARE * expected:
            self.unreadable.append(
                f"{self.source} ended after {index} readable frames, {expected} were expected."
            )


def _local(source: str) -> str:
    """Return a file:// URL as the name of the file; any other source as it is."""
    address = urlsplit(source) if source.startswith("file://") else None
    return unquote(address.path) if address and address.netloc in ("", "localhost") else source


def source_folder(source: Path | str) -> Path:
    """Return the folder that `Frames(source)` reads from, be it the source itself."""
    path = Path(_local(str(source)))
    is_folder = os.path.isdir(path)  # noqa: PTH112 -- Path.is_dir raises for names too long
    return (path if is_folder else path.parent).resolve()


def source_sha256(source: Path | str) -> str | None:
    """Hash what `Frames(source)` reads with SHA-256: a file, or a folder's images together.

    None for cameras, streams and files that cannot be read. Raises InputError for a folder without
    images.
    """
    path = Path(_local(str(source)))
    return sha256_of_all(images_in(path).images) if path.is_dir() else sha256(path)


class VideoWriter(PiecewiseWriter):
    """Writes an mp4 (MPEG-4 part 2, the one codec that every OpenCV wheel can write and read).

    Use it as a context manager: the file appears under its name when the block ends well, and not
    at all if the block raises. The first image fixes the frame size; later ones of another size
    are scaled to it.

    path: where the video goes, ending in .mp4; fps: its frame rate.
    Raises InputError for another ending and if the file cannot be written.
    """

    def __init__(self, path: Path | str, fps: float) -> None:
        self.path = Path(utf8_name(path))
        if self.path.suffix.lower() != ".mp4":
            raise InputError(f"Cannot write {self.path}: the name of a video must end in .mp4.")
        self.fps = fps
        self.count = 0
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def _open(self, stack: ExitStack) -> None:
        self._temporary = stack.enter_context(pending_path(self.path))
        stack.push(self._finish)

    def write(self, image: NDArray[np.uint8]) -> None:
        """Append an (H, W, 3) uint8 BGR image."""
        height, width = image.shape[:2]
        if self._writer is None:
            # The codec stores colour at half resolution and cannot take odd sizes.
            self._size = (max(2, width - width % 2), max(2, height - height % 2))
            fourcc = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._temporary), fourcc, self.fps, self._size)
            if not self._writer.isOpened():
                raise InputError(f"Cannot write {self.path}: OpenCV cannot open an mp4 there.")
        fits = (width, height) == self._size
        self._writer.write(image if fits else cv2.resize(image, self._size))
        self.count += 1

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is None:
            return
        self._writer.release()
        # OpenCV's writer does not report a full disk.
        if kind is None and _frame_count(self._temporary) != self.count:
            raise InputError(
                f"Cannot write {self.path}: not all of its {self.count} frames got there; the disk "
                "may be full."
            )


def _frame_count(video: Path) -> int:
    capture = cv2.VideoCapture(str(video))
    try:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()


def _is_picture(path: Path) -> bool:
    """Return whether a file is an image, by its suffix or without a known one by its first bytes.

    A GIF or PNG of several pictures is none.
    """
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return suffix not in _ANIMATIONS or _picture_count(path) == 1
    return not _other_kind(path) and cv2.haveImageReader(utf8_name(path))


def _other_kind(path: Path) -> str:
    """Return what a file is that is neither image nor video, if its bytes tell; otherwise ""."""
    if not path.is_file():  # to read a device or a pipe could take for ever
        return ""
    try:
        kind = other_kind(first_bytes(path))
    except OSError:  # who opens it says so
        return ""
    return "" if kind == "a video" else kind


def _picture_count(path: Path) -> int:
    """Return how many pictures a file of a format that may hold several has; 1 of any other."""
    if path.suffix.lower() not in _ANIMATIONS | _SEVERAL or not is_utf8(path):
        return 1
    try:
        return max(1, cv2.imcount(str(path)))
    except cv2.error:  # the reader of images says why
        return 1
