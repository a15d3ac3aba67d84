"""The storage files of a recording: told by their first bytes, and unpacked if zstd packed them.

rosbag2 packs whole files or single messages; without its metadata.yaml, only the bytes tell.
"""

from __future__ import annotations

import shutil
import sys
import zlib
from pathlib import Path, PurePath
from typing import Any, Literal

import lz4.frame
from ruamel.yaml import YAML

from sipmask_core.errors import InputError
from sipmask_core.runtime.signatures import first_bytes, other_kind

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Kind = Literal["mcap", "sqlite3", "zstd", "ros1", ""]

STORAGES = (".mcap", ".db3")
_PACKED = (".zstd", ".zst")
_ZSTD = b"\x28\xb5\x2f\xfd"
_MAGIC: dict[bytes, Kind] = {
    b"\x89MCAP0\r\n": "mcap",
    b"SQLite format 3\0": "sqlite3",
    _ZSTD: "zstd",
    b"#ROSBAG V": "ros1",
}
_BY_SUFFIX: dict[str, Kind] = {".mcap": "mcap", ".db3": "sqlite3", ".bag": "ros1"}
NAMED = 5  # bags in a folder of bags
CONVERT_ROS1 = "`rosbags-convert --src FILE.bag --dst FOLDER --dst-typestore ros2_jazzy`"


def storage_kind(file: Path) -> Kind:
    """Return what a file is by its first bytes or, if they are damaged, by its suffix."""
    with file.open("rb") as stream:
        head = stream.read(max(map(len, _MAGIC)))
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    return _BY_SUFFIX.get(file.suffix.lower(), "")


def storage_files(path: Path) -> list[Path]:
    """Return the storage files of a bag, split ones in the order of their numbers.

    Raise InputError if there are none; the sentence says what is there instead.
    """
    try:
        files = _in_folder(path) if path.is_dir() else [path] if path.is_file() else []
        kinds = {storage_kind(file) for file in files}
        what = _other_kind(files[0]) if len(files) == 1 else ""
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    if what:
        raise InputError(f"{files[0]} is {what}.")
    if "ros1" in kinds:
        raise InputError(f"{path} is a bag of ROS 1; {CONVERT_ROS1} makes one of ROS 2.")
    if not kinds or "" in kinds:
        named = named_files(path)
        if named:
            raise InputError(
                f"{path} has a metadata.yaml, but not the file that it names, {', '.join(named)};"
                " both belong in one folder."
            )
        raise InputError(
            f"{path} is no bag: {' or '.join(STORAGES)} or a folder is accepted{_instead(path)}."
        )
    return files


def _other_kind(file: Path) -> str:
    """Return what a file is that does not begin as a recording, if its first bytes tell."""
    head = first_bytes(file)
    if head.startswith(tuple(_MAGIC)) or write_ahead_log(file):
        return ""
    return other_kind(head)


def _instead(path: Path) -> str:
    """Return what may be meant by a path that is no bag, to end a sentence; "" if nothing."""
    if path.name == "metadata.yaml":
        return f"; give the folder of this file, {path.parent}"
    folders = [folder for folder in path.iterdir() if folder.is_dir()] if path.is_dir() else []
    bags = sorted(folder.name for folder in folders if _in_folder(folder))
    return f"; give one of those in it: {', '.join(bags[:NAMED])}" if bags else ""


def _in_folder(folder: Path) -> list[Path]:
    files = [file for file in folder.iterdir() if _is_storage(file)]
    if not files:
        return [file for file in folder.iterdir() if file.suffix.lower() == ".bag"]
    names = {file.name for file in files}
    # A player leaves what it has unpacked beside what was packed.
    files = [f for f in files if f.suffix.lower() not in _PACKED or f.stem not in names]
    return sorted(files, key=lambda file: (len(file.name), file.name))


def _is_storage(file: Path) -> bool:
    plain = PurePath(file.stem) if file.suffix.lower() in _PACKED else file
    return plain.suffix.lower() in STORAGES and file.is_file()


def metadata(folder: Path) -> dict[str, Any]:
    """Return what a folder's metadata.yaml says of the bag; nothing if it cannot be read."""
    try:
        content: Any = YAML(typ="safe").load(folder / "metadata.yaml")
        found = content["rosbag2_bagfile_information"]
    except Exception:  # it may be missing, or as damaged as the rest
        return {}
    return found if isinstance(found, dict) else {}


def named_files(folder: Path) -> list[str]:
    """Return the names of the storage files of which metadata.yaml tells."""
    paths = metadata(folder).get("relative_file_paths")
    return [PurePath(str(path)).name for path in paths] if isinstance(paths, list) else []


def write_ahead_log(file: Path) -> Path | None:
    """Return the file of messages that SQLite has not put into the storage file yet, if any."""
    log = file.with_name(f"{file.name}-wal")
    return log if log.is_file() and log.stat().st_size else None


def unpack_file(file: Path, folder: Path) -> Path:
    """Unpack a file that zstd packed as a whole, as far as that goes, and return the new one.

    Raise InputError if there is no room for it.
    """
    plain = folder / file.stem
    try:
        with zstd.open(file, "rb") as packed, plain.open("wb") as stream:
            shutil.copyfileobj(packed, stream)
    except (EOFError, zstd.ZstdError):
        pass  # it is damaged; readers of what there is will say so
    except OSError as error:
        raise InputError(
            f"{file} cannot be unpacked to {folder}: {error.strerror or error}; unpack it elsewhere"
            f" with `zstd -d {file.name}`."
        ) from None
    return plain


def unpack_message(content: bytes) -> bytes:
    """Unpack a message if zstd packed it; one that is damaged stays as it is.

    Serialized messages of ROS 2 begin with a zero, so that there is no mistaking them.
    """
    if not content.startswith(_ZSTD):
        return content
    try:
        return zstd.decompress(content)
    except zstd.ZstdError:
        return content


def unpack_chunk(content: bytes, compression: str, size: int, checksum: int) -> bytes:
    """Unpack a chunk of MCAP. Raise ValueError, or an error of the decompressor, if it is damaged.

    size: of the result in bytes. checksum: its CRC-32, 0 if it has none.
    """
    if compression == "zstd":
        content = zstd.decompress(content)
    elif compression == "lz4":
        content = lz4.frame.decompress(content)
    elif compression:
        raise ValueError(f"compression {compression!r}")
    if len(content) != size or (checksum and zlib.crc32(content) != checksum):
        raise ValueError("size or checksum")
    return content
