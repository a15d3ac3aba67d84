"""Where images wait between the thread that receives and the thread that computes."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from itertools import islice
from typing import Generic, TypeVar

Sender = TypeVar("Sender", bound=Hashable)
Item = TypeVar("Item")


class Mailbox(Generic[Sender, Item]):
    """One place for each sender, in which the newest item wins; senders are served in turn.

    Senders stand in line, not items: a sender that replaces its item keeps its place, and one that
    was served goes to the end. However fast one of them sends, all get the same share.
    """

    def __init__(self) -> None:
        self._waiting: dict[Sender, Item] = {}  # who has waited longest stands first
        self._closed = False
        self._changed = threading.Condition()

    def put(self, sender: Sender, item: Item) -> Item | None:
        """Leave an item. Return the one that it replaced, if any; the item itself once closed."""
        with self._changed:
            if self._closed:
                return item
            replaced = self._waiting.get(sender)
            self._waiting[sender] = item
            self._changed.notify()
            return replaced

    def take(self, limit: int = 1) -> list[Item]:
        """Wait for items and take those of up to `limit` senders; none once it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            senders = list(islice(self._waiting, limit))
            return [self._waiting.pop(sender) for sender in senders]

    def close(self) -> list[Item]:
        """Let nothing more in and wake whoever waits. Return the items that nobody took."""
        with self._changed:
            left = list(self._waiting.values())
            self._waiting = {}
            self._closed = True
            self._changed.notify_all()
            return left
