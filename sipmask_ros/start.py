"""How the executables of the package start."""

from __future__ import annotations

import os
import signal
from importlib import import_module
from typing import TYPE_CHECKING

from sipmask_core.runtime.interruption import ENDING_SIGNALS

if TYPE_CHECKING:
    from types import FrameType

MODULES = {
    "camera_source": "sipmask_ros.camera.camera_source",
    "segmentation_node": "sipmask_ros.node.segmentation_node",
}


def start(node: str) -> int:
    """Run the `main` of a node, one of MODULES. Return its exit code.

    A signal that comes while the module is imported, which takes seconds, ends the process in
    silence; one that comes while Python ends changes nothing.
    """
    for number in ENDING_SIGNALS:
        signal.signal(number, _end)
    code = int(import_module(MODULES[node]).main())
    # Python gives up its handlers first of all, after which a signal would kill the process.
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    return code


def _end(number: int, frame: FrameType | None) -> None:
    # An exception would come out of the middle of an import, if that lets it out at all.
    os._exit(0)
