"""A slot of one between the thread that receives and the thread that works: the newest item wins.

Knows nothing of what it holds. Invariant: received = dropped + taken + (1 while an item waits), whatever the
two threads do.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotCounts:
    """One consistent reading of a slot's counters."""

    received: int
    dropped: int
    """Replaced by a newer item before anybody took them."""
    taken: int


class Slot(Generic[T]):
    """Holds the newest item, and the `kept` items received before it."""

    def __init__(self, *, kept: int = 0) -> None:
        self._filled = threading.Condition()
        self._items: deque[T] = deque(maxlen=kept + 1)
        self._waiting = False
        self._received = self._dropped = self._taken = 0

    def put(self, item: T) -> None:
        """Make `item` the newest; an item that still waited is dropped, but stays among the kept."""
        with self._filled:
            self._received += 1
            self._dropped += self._waiting
            self._waiting = True
            self._items.append(item)
            self._filled.notify()

    def take(self, timeout_s: float) -> tuple[T, tuple[T, ...]] | None:
        """The newest item and those before it, oldest first; None when no new one came within `timeout_s`."""
        with self._filled:
            if not self._filled.wait_for(lambda: self._waiting, timeout_s):
                return None
            self._waiting = False
            self._taken += 1
            *before, newest = self._items
            return newest, tuple(before)

    @property
    def counts(self) -> SlotCounts:
        """The counters at this moment."""
        with self._filled:
            return SlotCounts(received=self._received, dropped=self._dropped, taken=self._taken)
