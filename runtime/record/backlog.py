"""A queue bounded by bytes, between the live threads and the thread that writes to disk."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Backlog(Generic[T]):
    """A queue from any threads to one reader; `put` never waits."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._filled = threading.Condition()
        self._items: deque[tuple[T, int]] = deque()
        self._held = self._in_work = 0

    def put(self, item: T, size: int, *, share: float = 1.0) -> bool:
        """Add an item of `size` bytes; False where that would fill more than `share` of the bound."""
        with self._filled:
            if self._held + size > share * self._max_bytes:
                return False
            self._held += size
            self._items.append((item, size))
            self._filled.notify()
            return True

    def take(self, timeout_s: float) -> T | None:
        """The oldest item, None when none came within `timeout_s`; releases the item taken before."""
        with self._filled:
            self._held -= self._in_work
            self._in_work = 0
            if not self._filled.wait_for(lambda: self._items, timeout_s):
                return None
            item, self._in_work = self._items.popleft()
            return item

    @property
    def held(self) -> int:
        """Bytes of the queued items and of the one being written."""
        with self._filled:
            return self._held
