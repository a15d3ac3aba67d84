"""A place for one thing between the thread that receives and the thread that computes."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Holds the newest thing put in; an older one that nobody took is replaced."""

    def __init__(self) -> None:
        self._item: T | None = None
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T) -> T | None:
        """Leave an item. Returns the one that it replaced, if any; itself once closed."""
        with self._changed:
            if self._closed:
                return item
            replaced, self._item = self._item, item
            self._changed.notify()
            return replaced

    def take(self) -> T | None:
        """Wait for an item and take it; None once the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed)
            item, self._item = self._item, None
            return item

    def close(self) -> T | None:
        """Let nothing more in and wake who waits. Returns the item that nobody took, if any."""
        with self._changed:
            item, self._item = self._item, None
            self._closed = True
            self._changed.notify_all()
            return item
