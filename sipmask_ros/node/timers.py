"""Timers that run on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock, ClockType

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node


def steady_timer(node: Node, period: float, callback: Callable[[], object]) -> Any:
    """Return a timer of the node that calls back each `period` seconds of real time.

    The node's own clock may be that of a simulation, which may stand still.
    """
    return node.create_timer(period, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))
