"""Reading rosbags, whole or damaged, packed or not: MCAP and SQLite, a file or a folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import Reader

from sipmask_core.errors import InputError
from sipmask_ros.bags.salvage import Message, Salvage
from sipmask_ros.bags.storage import (
    metadata,
    named_files,
    storage_files,
    storage_kind,
    unpack_file,
    unpack_message,
    write_ahead_log,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


@dataclass(frozen=True)
class Damage:
    """What is wrong with a storage file, and how many of its bytes could not be read."""

    file: Path
    reason: str
    unread_bytes: int
    total_bytes: int

    def __str__(self) -> str:
        lost = f"; {self.unread_bytes:,} of {self.total_bytes:,} bytes could not be read"
        return f"{self.file} is damaged: {self.reason}{lost if self.unread_bytes else ''}."


class Bag:
    """A recording of ROS 2: an .mcap or .db3 file, or a folder of them.

    files: where it is stored. topics: the type of each topic.
    encodings: how the messages of each topic are serialized, if that is known; "cdr" is ROS 2's.
    promised: how many messages of each topic were recorded, as far as the bag says so.
    Raises InputError if the path is no bag. Files that were packed as a whole are unpacked for as
    long as this object lives. A damaged bag is read as far as possible, by `Salvage` from where the
    library for whole bags gives up, and so is one with a write-ahead log, which the library skips.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.topics: dict[str, str] = {}
        self.encodings: dict[str, str] = {}
        self.promised: dict[str, int] = {}
        self._damage: dict[Path, Damage] = {}
        if not self.path.exists():
            raise InputError(f"The bag {path} does not exist.")
        self.files = storage_files(self.path)
        self._room: TemporaryDirectory[str] | None = None
        self._unpacked: dict[Path, Path] = {}
        # A folder whose recorder was killed has no metadata; its files stand for themselves.
        has_metadata = self.path.is_dir() and (self.path / "metadata.yaml").exists()
        self._sources = [self.path] if has_metadata else self.files
        self._note_missing_files()
        for source in self._sources:
            self._open(source)

    @property
    def damage(self) -> list[Damage]:
        """What has been found wrong so far."""
        return list(self._damage.values())

    def messages(self, topics: Collection[str]) -> Iterator[Message]:
        """Yield the messages of these topics, in the order in which they were recorded.

        Memory grows with their number: the time of each is kept.
        """
        for source in self._sources:
            delivered: Counter[tuple[str, int]] = Counter()
            try:
                with self._reader(source) as reader:
                    chosen = [c for c in reader.connections if c.topic in topics]
                    for connection, time, data in reader.messages(chosen) if chosen else ():
                        delivered[connection.topic, time] += 1
                        message = Message(connection.topic, connection.msgtype, time, data)
                        yield message._replace(data=unpack_message(data))
            except Exception:  # damage makes the library stumble in many ways
                for message in self._salvage(source):
                    key = message.topic, message.time
                    if delivered[key]:
                        delivered[key] -= 1
                    elif message.topic in topics:
                        yield message._replace(data=unpack_message(message.data))

    def _open(self, source: Path) -> None:
        try:
            with self._reader(source) as reader:
                for connection in reader.connections:
                    self.topics[connection.topic] = connection.msgtype
                    self._promise(connection.topic, connection.msgcount)
        except Exception:  # as above
            for topic, count in _promised(source).items():
                self._promise(topic, count)
            for message in self._salvage(source):
                self.topics[message.topic] = message.type

    def _reader(self, source: Path) -> Reader:
        """Return the library's reader of whole bags. Raise ValueError if it would skip a part."""
        if any(write_ahead_log(file) for file in self._files_of(source)):
            raise ValueError(source)
        return Reader(source if source.is_dir() else self._plain(source))

    def _files_of(self, source: Path) -> list[Path]:
        return self.files if source.is_dir() else [source]

    def _plain(self, file: Path) -> Path:
        """Return a file to read, which is another one if this one was packed as a whole."""
        if storage_kind(file) != "zstd":
            return file
        if file not in self._unpacked:
            self._room = self._room or TemporaryDirectory(prefix="sipmask_bag_")
            self._unpacked[file] = unpack_file(file, Path(self._room.name))
        return self._unpacked[file]

    def _note_missing_files(self) -> None:
        named = named_files(self.path)
        if len(named) > len(self.files):  # otherwise they may have been renamed
            there = {name for file in self.files for name in (file.name, file.stem)}
            for name in named:
                if name not in there:
                    file = self.path / name
                    self._damage[file] = Damage(file, "it is missing from its folder", 0, 0)

    def _promise(self, topic: str, count: int) -> None:
        self.promised[topic] = self.promised.get(topic, 0) + count

    def _salvage(self, source: Path) -> Iterator[Message]:
        for file in self._files_of(source):
            salvage = Salvage(self._plain(file))
            yield from salvage
            self.encodings |= salvage.encodings
            if salvage.reason:
                self._damage[file] = Damage(
                    file, salvage.reason, salvage.unread_bytes, salvage.total_bytes
                )


def deserialized(recorded: Message, message_class: Any) -> Any:
    """Return the message as rclpy has it. Raise InputError if its bytes are damaged."""
    try:
        return deserialize_message(recorded.data, message_class)
    except Exception as error:  # of the middleware's own
        raise InputError(
            f"A message of {recorded.topic} is damaged: its {len(recorded.data)} bytes are no"
            f" {recorded.type}."
        ) from error


def _promised(source: Path) -> dict[str, int]:
    """Return how many messages of each topic metadata.yaml tells of; none if it cannot be read."""
    try:
        return {
            entry["topic_metadata"]["name"]: int(entry["message_count"])
            for entry in metadata(source)["topics_with_message_count"]
        }
    except (KeyError, TypeError, ValueError):
        return {}
