"""What waits between the live threads and one that writes to disk, bounded by bytes.

Knows nothing of what it holds. Invariant: what is held, the item in work included, is never more than the bound, and
`put` waits for nobody: what does not fit is refused.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Backlog(Generic[T]):
    """A queue from any threads to one."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._filled = threading.Condition()
        self._items: deque[tuple[T, int]] = deque()
        self._held = self._in_work = 0

    def put(self, item: T, size: int, *, share: float = 1.0) -> bool:
        """Add an item of `size` bytes; False where more than `share` of the bound would then be held."""
        with self._filled:
            if self._held + size > share * self._max_bytes:
                return False
            self._held += size
            self._items.append((item, size))
            self._filled.notify()
            return True

    def take(self, timeout_s: float) -> T | None:
        """The oldest item, None when none came within `timeout_s`; the one taken before is no longer held."""
        with self._filled:
            self._held -= self._in_work
            self._in_work = 0
            if not self._filled.wait_for(lambda: self._items, timeout_s):
                return None
            item, self._in_work = self._items.popleft()
            return item

    @property
    def held(self) -> int:
        """Bytes of the items that wait and of the one in work."""
        with self._filled:
            return self._held
