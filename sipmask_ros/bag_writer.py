"""Writing an MCAP bag of instances and pictures."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ament_index_python import get_package_share_directory
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from sipmask_core.errors import InputError
from sipmask_ros.conversions import type_name

if TYPE_CHECKING:
    from types import TracebackType

    from rosbags.typesys.store import Typestore


@cache
def typestore() -> Typestore:
    """ROS 2's message types and those of this package, from the .msg files installed with it."""
    store = get_typestore(Stores.ROS2_JAZZY)
    own: dict[str, Any] = {}
    for path in Path(get_package_share_directory("sipmask_ros"), "msg").glob("*.msg"):
        own |= get_types_from_msg(path.read_text("utf-8"), f"sipmask_ros/msg/{path.stem}")
    store.register(own)
    return store


class BagWriter:
    """A new bag in folder `path`, which appears there, whole, when the block ends without an error.

    Nothing appears where nothing was written.

    Raises InputError where `path` exists or its folder cannot be made.
    """

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise InputError(f"The bag {path} exists; choose another --output, or remove it.")
        self.path = path
        # The writer names its file after the folder.
        self._temporary = path.parent / f".{path.name}.{os.getpid()}.part"
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> BagWriter:
        try:
            self._temporary.mkdir(parents=True)
        except OSError as error:
            raise InputError(f"Cannot make the folder {self.path}: {error.strerror}.") from None
        # Version 9 is that of ROS 2 Jazzy.
        self._writer = Writer(
            self._temporary / self.path.name, version=9, storage_plugin=StoragePlugin.MCAP
        )
        self._writer.open()
        return self

    def write(self, topic: str, time: int, message: Any) -> None:
        """Append a message of rclpy's, recorded at `time` in nanoseconds."""
        connection = self._connections.get(topic)
        if connection is None:
            name = type_name(type(message))
            connection = self._writer.add_connection(topic, name, typestore=typestore())
            self._connections[topic] = connection
        self._writer.write(connection, time, serialize_message(message))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._writer.close()
            if kind is None and self._connections:
                (self._temporary / self.path.name).rename(self.path)
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)
