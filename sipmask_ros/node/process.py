"""How the process of the node begins and ends."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import rclpy
from rclpy.impl.implementation_singleton import rclpy_implementation

from sipmask_core.errors import InputError
from sipmask_core.runtime.interruption import ENDING_SIGNALS, do_nothing
from sipmask_ros.transport import join_ros, prepare_for_images

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from sipmask_ros.node.segmentation_node import SegmentationNode

# Seconds that the image in work gets to finish when the process is told to end.
LAST_IMAGE = 1.0


def run(make: Callable[[], SegmentationNode], arguments: Sequence[str] | None) -> NoReturn:
    """Run the node that `make` makes until the process is told to end.

    arguments: of ROS; None takes those of this process. Exit with 0, or with 2 if the node could
    not be started.
    """
    node = None
    code = 0
    try:
        for number in ENDING_SIGNALS:
            signal.signal(number, _end)
        prepare_for_images()
        # rclpy's own handlers come first and call ours.
        join_ros(arguments)
        node = make()
        if node.get_parameter("autostart").value is not False and not node.start():
            code = 2
        else:
            _spin(node)
        _ignore_signals()
    except KeyboardInterrupt:
        pass
    except InputError as error:
        print(f"segmentation_node: {error}", file=sys.stderr)
        code = 2
    if node is not None:
        at_rest = node.can_end(LAST_IMAGE)
        node.destroy_node()
        if at_rest:
            # It is part of many cycles, and DDS takes leave only when nothing of it is left.
            node.__dict__.clear()
            rclpy_implementation.rclpy_logging_fini()  # writes the rest of the log file
    rclpy.try_shutdown()
    # Python takes seconds to take PyTorch down, and must not do so around a network at work.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _end(number: int, frame: FrameType | None) -> None:
    """Interrupt at the first signal and let those that follow do nothing.

    Ctrl-C in a terminal reaches a launched node twice: from the terminal and from the launch.
    """
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for ending in ENDING_SIGNALS:
        signal.signal(ending, do_nothing)


def _spin(node: SegmentationNode) -> None:
    """Serve until rclpy ends: a signal may end it before Python hears of that."""
    try:
        rclpy.spin(node)
    except Exception:
        # ExternalShutdownException or, if it ends just as a wait begins, what that wait meets.
        if rclpy.ok():
            raise
