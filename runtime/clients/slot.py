"""Between the thread that receives and the thread that works: of each stream the newest item waits, and no other.

Knows nothing of what it holds. Invariant: received = dropped + taken + waiting, whatever the two threads do.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_STREAMS = 64
"""Beyond it the item that has waited longest is dropped: names of streams come from other machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotCounts:
    """One consistent reading of a slot's counters."""

    received: int
    dropped: int
    """Replaced by a newer item of the same stream before anybody took them."""
    taken: int


class Slot(Generic[T]):
    """Holds the newest item of each stream; streams take turns."""

    def __init__(self) -> None:
        self._filled = threading.Condition()
        self._waiting: dict[str, T] = {}
        self._received = self._dropped = self._taken = 0

    def put(self, item: T, stream: str = "") -> None:
        """Make `item` the newest of its stream; one of the same stream that still waited is dropped."""
        with self._filled:
            self._received += 1
            if stream not in self._waiting and len(self._waiting) == MOST_STREAMS:
                del self._waiting[next(iter(self._waiting))]
                self._dropped += 1
            self._dropped += stream in self._waiting
            self._waiting[stream] = item  # in the place in the queue that the stream has already
            self._filled.notify()

    def take(self, timeout_s: float) -> T | None:
        """The newest item of the stream that has waited longest; None when none came within `timeout_s`."""
        with self._filled:
            if not self._filled.wait_for(lambda: bool(self._waiting), timeout_s):
                return None
            self._taken += 1
            return self._waiting.pop(next(iter(self._waiting)))

    @property
    def counts(self) -> SlotCounts:
        """The counters at this moment."""
        with self._filled:
            return SlotCounts(received=self._received, dropped=self._dropped, taken=self._taken)
