"""Ctrl-C and SIGTERM as a request to stop after the current step, keeping what is done."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def do_nothing(number: int, frame: FrameType | None) -> None:
    """Handle a signal by ignoring it.

    SIG_IGN will not do: Python reports an error if a signal arrives just before it is set.
    """


class Interruption:
    """A context in which the first signal only sets `requested`; a second one interrupts at once.

    patient: later signals change nothing, for a program that ends soon by itself and may get the
    same Ctrl-C twice, from the terminal and from what launched it.

    Outside the main thread, where Python forbids signal handlers, the context changes nothing.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self.requested = False
        self._then = do_nothing if patient else signal.default_int_handler

    def __enter__(self) -> Interruption:
        self._previous = {}
        if threading.current_thread() is threading.main_thread():
            for number in ENDING_SIGNALS:
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(number, self._then)
