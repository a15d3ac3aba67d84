"""How a node joins ROS, which may refuse what follows `--ros-args`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import rclpy

from sipmask_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Lines of ROS's own sources, which end its sentences.
_SOURCES = re.compile(r"(, at [^ ,]+:\d+)+$")


def join_ros(arguments: Sequence[str] | None, **options: Any) -> None:
    """Call `rclpy.init`. Raise InputError if an argument or a parameter file cannot be read."""
    try:
        rclpy.init(args=arguments, **options)
    except RuntimeError as error:  # the base of rclpy's, which have no public names
        reason = _SOURCES.sub("", " ".join(str(error).split()))
        raise InputError(
            "ROS does not start with these arguments and this environment: "
            + reason.removeprefix("failed to initialize rcl: ")
        ) from error
