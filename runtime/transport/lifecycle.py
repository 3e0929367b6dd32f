"""The life cycle of everything that holds sockets or threads: new, open, closed, once.

Invariant: whatever was opened is closed in reverse order on every way out, and never while `run()` still uses it.
"""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal, Self

POLL_MS = 50
"""How long a loop waits before it looks again whether it should stop."""

log = logging.getLogger(__name__)


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


class Worker(Service):
    """Base class of services whose work is done by a thread while they are open.

    A subclass opens its resources in `_open`, which ends with `_start`, and uses them in `_work`. They are closed by
    the thread that opened them, once the worker's own has ended; ZeroMQ allows its sockets to move between threads in
    this way, because start and join of a thread are full memory barriers.
    """

    def __init__(self, name: str) -> None:
        """`name`: that of the thread."""
        super().__init__()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    @abstractmethod
    def _work(self) -> None:
        """Do the work, in the thread, until `stopping`."""

    def check(self) -> None:
        """Raise the error that ended the thread, if one did."""
        if self._error is not None:
            raise self._error

    def _start(self, stack: ExitStack) -> None:
        """Start the thread, and put on `stack` what ends it."""
        self._thread.start()
        stack.callback(self._end)

    def _end(self) -> None:
        """Make the thread end, and wait for it."""
        self.stop()
        self._thread.join()

    def _main(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error
            log.exception("thread %r ended by an error", self._thread.name)
            self._failed()

    def _failed(self) -> None:
        """Called in the thread when an error has ended it."""
