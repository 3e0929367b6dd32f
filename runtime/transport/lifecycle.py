"""The life cycle of everything that holds sockets or threads: new, open, closed, once.

Invariant: whatever was opened is closed in reverse order on every way out, and never while `run()` still uses it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal, Self

POLL_MS = 50
"""How long a loop waits before it looks again whether it should stop."""


class Service:
    """Base class of servers and clients, which are open inside a `with` block.

    A subclass opens its resources in `_open`. If it has a loop, `run()`, that loop ends soon after `stop()`.
    """

    def __init__(self) -> None:
        self.state: Literal["new", "open", "closed"] = "new"
        self._stack = ExitStack()
        self._stopping = False
        self._running = threading.Lock()

    def _open(self, stack: ExitStack) -> None:
        """Open the resources, and put on `stack` what closes them."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        if self.state != "new":
            raise ValueError(f"{type(self).__name__} is {self.state}: it opens once, make another")
        with ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        self.state = "open"
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        with self._running:
            self.state = "closed"
            self._stack.close()

    def stop(self) -> None:
        """Make the loop end soon. Idempotent; may be called by any thread and by signal handlers."""
        self._stopping = True  # a plain flag: a signal handler must take no lock

    @property
    def stopping(self) -> bool:
        """Whether `stop()` was called."""
        return self._stopping

    @contextmanager
    def _loop(self) -> Iterator[None]:
        """Keep the resources open while a loop uses them."""
        with self._running:
            if self.state != "open":
                raise ValueError(f"{type(self).__name__} is {self.state}: use it inside its with block")
            yield
