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
from sipmask_core.runtime.files import PiecewiseWriter, make_folder, writing
from sipmask_ros.conversions.images import type_name

if TYPE_CHECKING:
    from contextlib import ExitStack

    from rosbags.typesys.store import Typestore


@cache
def typestore() -> Typestore:
    """Return ROS 2's message types and those of this package, from its installed .msg files."""
    store = get_typestore(Stores.ROS2_JAZZY)
    own: dict[str, Any] = {}
    for path in Path(get_package_share_directory("sipmask_ros"), "msg").glob("*.msg"):
        own |= get_types_from_msg(path.read_text("utf-8"), f"sipmask_ros/msg/{path.stem}")
    store.register(own)
    return store


class BagWriter(PiecewiseWriter):
    """A new bag in folder `path`, which appears there, whole, when the block ends without an error.

    Nothing appears if nothing was written.

    Raises InputError if `path` exists or its folder cannot be made.
    """

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise InputError(f"The bag {path} exists; remove it, or choose another place.")
        self.path = path
        # The writer names its file after the folder.
        self._temporary = path.parent / f".{path.name}.{os.getpid()}.part"
        self._connections: dict[str, Any] = {}

    def _open(self, stack: ExitStack) -> None:
        make_folder(self._temporary)
        stack.callback(shutil.rmtree, self._temporary, ignore_errors=True)
        # Version 9 is that of ROS 2 Jazzy.
        self._writer = Writer(
            self._temporary / self.path.name, version=9, storage_plugin=StoragePlugin.MCAP
        )
        self._writer.open()
        stack.push(self._finish)

    def write(self, topic: str, time: int, message: Any) -> None:
        """Append a message of rclpy's, recorded at `time` in nanoseconds."""
        data = serialize_message(message)
        with writing(self.path):
            connection = self._connections.get(topic)
            if connection is None:
                name = type_name(type(message))
                connection = self._writer.add_connection(topic, name, typestore=typestore())
                self._connections[topic] = connection
            self._writer.write(connection, time, data)

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        self._writer.close()
        if kind is None and self._connections:
            (self._temporary / self.path.name).rename(self.path)
