"""What can still be read from a damaged storage file of a rosbag.

Libraries want the index that a recorder writes last; a robot that lost power never wrote it. These
readers go through a file from its beginning and need nothing that comes after the messages.
MCAP's records: https://mcap.dev/spec. SQLite's header: https://www.sqlite.org/fileformat.html.
"""

from __future__ import annotations

import mmap
import re
import sqlite3
import struct
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, NamedTuple

from sipmask_ros.bags.storage import storage_kind, unpack_chunk, write_ahead_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F
_HEAD = struct.Struct("<BQ")  # of a record: what it is and the length of what follows
# The head of a record, of less than 4 GiB, that can come among messages; _CHAIN records in a row
# are no coincidence.
_RECORD = re.compile(rb"(?=[\x03-\x08].{4}\0{4})", re.DOTALL)
_CHAIN = 3
_MESSAGE_HEAD = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_CHUNK_HEAD = struct.Struct("<QQQII")  # start, end, size, checksum, length of the compression

_TOPICS = "SELECT id, name, type FROM topics"
_MESSAGES = "SELECT id, topic_id, timestamp, data FROM messages WHERE id > ? ORDER BY id"
_MOST_SKIPPED = 1 << 20  # ids that are tried beyond an unreadable page of a database


class Message(NamedTuple):
    """A serialized message. time: when it was recorded, in nanoseconds."""

    topic: str
    type: str
    time: int
    data: bytes


class Salvage:
    """Iterates over the messages that can be read, in the order of the file; in a chunk, by time.

    Afterwards `reason` says what is wrong with the file ("" if nothing was found), `unread_bytes`
    how many of its `total_bytes` are damaged or missing, and `encodings` how the messages of each
    topic are serialized.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reason = ""
        self.unread_bytes = 0
        self.total_bytes = path.stat().st_size
        self.encodings: dict[str, str] = {}

    def __iter__(self) -> Iterator[Message]:
        self.reason, self.unread_bytes = "", 0
        return self._sqlite3() if storage_kind(self.path) == "sqlite3" else self._mcap()

    def _lose(self, count: int, reason: str) -> None:
        # What a packed chunk lacks can be more than the whole file has.
        self.unread_bytes = min(self.unread_bytes + count, self.total_bytes)
        self.reason = self.reason or reason

    def _mcap(self) -> Iterator[Message]:
        size = self.total_bytes
        with self.path.open("rb") as stream:
            if stream.read(len(_MAGIC)) != _MAGIC:
                self._lose(size, "it does not begin as an MCAP file")
                return
            channels = _Channels(self.encodings)
            while head := stream.read(_HEAD.size):
                left = size - stream.tell()
                kind, length = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
                if kind == _DATA_END:
                    stream.seek(-len(_MAGIC), 2)
                    if stream.read() != _MAGIC:
                        self._lose(left, "its index is cut off")
                    return
                if kind == _CHUNK:
                    yield from self._chunk(stream, min(length, left), channels)
                    if length > left:
                        self._lose(0, "it is cut off in a record")
                        return
                elif kind == 0 or length > left:
                    damaged = stream.tell() - len(head)
                    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                        found = _next_record(content, damaged + 1)
                    if found is None:
                        what = (
                            "is cut off in a record" if kind else "goes on with what are no records"
                        )
                        self._lose(len(head) + left, f"it {what}")
                        return
                    self._lose(found - damaged, "a part of it is overwritten")
                    stream.seek(found)
                elif kind in (_SCHEMA, _CHANNEL, _MESSAGE):
                    yield from channels.read(kind, stream.read(length))
                else:
                    stream.seek(length, 1)
        self._lose(0, "it was not closed: its index is missing")

    def _chunk(self, stream: BinaryIO, length: int, channels: _Channels) -> Iterator[Message]:
        """Yield the messages of a chunk of which `length` bytes are there."""
        content = stream.read(length)
        try:
            _, _, size, checksum, n = _CHUNK_HEAD.unpack_from(content)
            compression = content[_CHUNK_HEAD.size : _CHUNK_HEAD.size + n].decode()
            records = content[_CHUNK_HEAD.size + n + 8 :]
            if compression or len(records) == size:
                records = unpack_chunk(records, compression, size, checksum)
        except Exception:  # each decompressor has exceptions of its own
            self._lose(length, "a chunk of it is damaged")
            return
        found: list[Message] = []
        end = 0
        while len(records) - end >= _HEAD.size:
            kind, n = _HEAD.unpack_from(records, end)
            if not 0 < kind <= _DATA_END or n > len(records) - end - _HEAD.size:
                again = _next_record(records, end + 1)
                if again is None:
                    break
                self._lose(again - end, "a chunk of it is damaged")
                end = again
                continue
            end += _HEAD.size + n
            found += channels.read(kind, records[end - n : end])
        if end < len(records):
            self._lose(
                len(records) - end, "a chunk of it is damaged" if len(records) == size else ""
            )
        yield from sorted(found, key=lambda message: message.time)

    def _sqlite3(self) -> Iterator[Message]:
        log = write_ahead_log(self.path)
        if log is not None:
            database = self._open_with_log()
            if database is not None:
                with closing(database):
                    yield from self._rows(database)
                return
            self._lose(
                log.stat().st_size,
                f"the messages in {log.name} are missing, for SQLite reads them only in a folder"
                " that can be written to",
            )
        with self.path.open("rb") as stream:
            header = stream.read(100)
        if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
            self._lose(self.total_bytes, "it does not begin as an SQLite file")
            return
        (page_size,), (pages,) = (
            struct.unpack_from(form, header, at) for form, at in ((">H", 16), (">I", 28))
        )
        promised = pages * (page_size if page_size > 1 else 65536)
        if promised > (size := self.path.stat().st_size):
            self.total_bytes = promised
            self._lose(promised - size, "it is cut off")
        uri = f"{self.path.resolve().as_uri()}?immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as database:
            # Without this, SQLite opens no file that is shorter than its header says.
            database.execute("PRAGMA writable_schema = ON")
            yield from self._rows(database)

    def _open_with_log(self) -> sqlite3.Connection | None:
        """Open the database together with its write-ahead log; return None if that is refused."""
        with suppress(sqlite3.Error), ExitStack() as stack:
            database = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)
            stack.callback(database.close)
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            stack.pop_all()
            return database
        return None

    def _rows(self, database: sqlite3.Connection) -> Iterator[Message]:
        last, skip = 0, 1
        while skip <= _MOST_SKIPPED:
            try:
                topics = {n: (name, kind) for n, name, kind in database.execute(_TOPICS)}
                for number, topic, recorded, data in database.execute(_MESSAGES, (last,)):
                    if number > last:  # in a damaged tree they may not rise
                        last, skip = number, 1
                        if topic in topics and isinstance(data, bytes):
                            yield Message(*topics[topic], recorded, data)
                return
            except (sqlite3.Error, OverflowError) as error:
                self._lose(0, str(error))
                last += skip
                skip *= 2


def _next_record(content: bytes | mmap.mmap, start: int) -> int | None:
    """Return where records of MCAP begin again, from `start` on; None if they do not."""
    for match in _RECORD.finditer(content, start):
        at = match.start()
        for _ in range(_CHAIN):
            if at == len(content):
                return match.start()
            if at > len(content) - _HEAD.size:
                break
            kind, length = _HEAD.unpack_from(content, at)
            if not 0 < kind <= _DATA_END:
                break
            at += _HEAD.size + length
        else:
            return match.start()
    return None


class _Channels:
    """What an MCAP file has said so far about its topics."""

    def __init__(self, encodings: dict[str, str]) -> None:
        self._encodings = encodings
        self._types: dict[int, str] = {}
        self._topics: dict[int, tuple[str, str]] = {}

    def read(self, kind: int, content: bytes) -> Iterator[Message]:
        """Take in one record; yield it if it is a message of a known topic."""
        try:
            if kind == _SCHEMA:
                (number,) = struct.unpack_from("<H", content)
                self._types[number] = _text(content, 2)[0]
            elif kind == _CHANNEL:
                number, schema = struct.unpack_from("<HH", content)
                topic, end = _text(content, 4)
                self._topics[number] = topic, self._types.get(schema, "")
                self._encodings[topic] = _text(content, end)[0]
            elif kind == _MESSAGE:
                number, _, time, _ = _MESSAGE_HEAD.unpack_from(content)
                if number in self._topics:
                    yield Message(*self._topics[number], time, content[_MESSAGE_HEAD.size :])
        except struct.error:
            return  # too short for what it says it is


def _text(content: bytes, start: int) -> tuple[str, int]:
    """Return the text that stands at `start`, and where it ends."""
    (length,) = struct.unpack_from("<I", content, start)
    end = start + 4 + length
    return content[start + 4 : end].decode(errors="replace"), end
