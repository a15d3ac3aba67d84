"""Reading rosbags, whole or damaged: MCAP and SQLite, a file or a folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import Reader
from ruamel.yaml import YAML

from sipmask_core.errors import InputError
from sipmask_ros.bags.salvage import Message, Salvage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

STORAGES = (".mcap", ".db3")


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

    topics: the type of each topic.
    promised: how many messages of each topic were recorded, as far as the bag says so.
    Raises InputError if the path is no bag. A damaged one is read as far as possible, by `Salvage`
    from where the library for whole bags gives up.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.topics: dict[str, str] = {}
        self.promised: dict[str, int] = {}
        self._damage: dict[Path, Damage] = {}
        if not self.path.exists():
            raise InputError(f"The bag {path} does not exist.")
        self.files = _storage_files(self.path)
        # A folder whose recorder was killed has no metadata; its files stand for themselves.
        has_metadata = self.path.is_dir() and (self.path / "metadata.yaml").exists()
        self._sources = [self.path] if has_metadata or self.path.is_file() else self.files
        if not self._sources:
            raise InputError(
                f"{path} is no bag: a folder with {' or '.join(STORAGES)} is accepted."
            )
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
                with Reader(source) as reader:
                    chosen = [c for c in reader.connections if c.topic in topics]
                    for connection, time, data in reader.messages(chosen) if chosen else ():
                        delivered[connection.topic, time] += 1
                        yield Message(connection.topic, connection.msgtype, time, data)
            except Exception:  # damage makes the library stumble in many ways
                for message in self._salvage(source):
                    key = message.topic, message.time
                    if delivered[key]:
                        delivered[key] -= 1
                    elif message.topic in topics:
                        yield message

    def _open(self, source: Path) -> None:
        try:
            with Reader(source) as reader:
                for connection in reader.connections:
                    self.topics[connection.topic] = connection.msgtype
                    self._promise(connection.topic, connection.msgcount)
        except Exception:  # as above
            for topic, count in _promised(source).items():
                self._promise(topic, count)
            for message in self._salvage(source):
                self.topics[message.topic] = message.type

    def _promise(self, topic: str, count: int) -> None:
        self.promised[topic] = self.promised.get(topic, 0) + count

    def _salvage(self, source: Path) -> Iterator[Message]:
        for file in self.files if source.is_dir() else [source]:
            salvage = Salvage(file)
            yield from salvage
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


def _storage_files(path: Path) -> list[Path]:
    """Return the storage files of a bag, split ones in the order of their numbers.

    Raise InputError if a file has another suffix than those of STORAGES.
    """
    if path.is_dir():
        files = [file for file in path.iterdir() if file.suffix in STORAGES]
        return sorted(files, key=lambda file: (len(file.name), file.name))
    if path.suffix not in STORAGES:
        raise InputError(f"{path} is no bag: {' or '.join(STORAGES)} or a folder is accepted.")
    return [path]


def _promised(source: Path) -> dict[str, int]:
    """Return how many messages of each topic metadata.yaml tells of; none if it cannot be read."""
    try:
        content: Any = YAML(typ="safe").load(source / "metadata.yaml")
        return {
            entry["topic_metadata"]["name"]: int(entry["message_count"])
            for entry in content["rosbag2_bagfile_information"]["topics_with_message_count"]
        }
    except Exception:  # it may be as damaged as the rest
        return {}
