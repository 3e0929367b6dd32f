"""Services that work in a thread of their own."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from contextlib import ExitStack

from .lifecycle import Service

log = logging.getLogger(__name__)


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
