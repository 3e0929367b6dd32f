"""A thread that owns one socket.

Knows nothing of what comes or goes. Invariant: the socket is made, used and closed by this thread alone; what ends the
thread is told to whoever opens or checks.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from concurrent.futures import Future

from .socket import Link


class LinkThread(ABC):
    """`open`, then `check` now and then, then `close`."""

    def __init__(self, name: str) -> None:
        """`name`: of the thread."""
        self._stopping = False
        self._failure: BaseException | None = None
        self._attached: Future[str] = Future()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    @abstractmethod
    def _link(self) -> Link:
        """The socket, in its thread; not open yet."""

    @abstractmethod
    def _turn(self, link: Link) -> None:
        """Wait a little for something to do, and do it."""

    def _end(self, link: Link) -> None:  # noqa: B027 - most have nothing left to do
        """What is left to do when the thread is to end."""

    def open(self) -> None:
        """Start the thread and wait until its socket is there. Errors: `OptionError`."""
        self._thread.start()
        try:
            self._attached.result()
        except BaseException:
            self._thread.join()
            raise

    def close(self) -> None:
        """End the thread and its socket; idempotent."""
        self._stopping = True
        self._thread.join()

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        if self._failure is not None:
            raise self._failure

    @property
    def endpoint(self) -> str:
        """Where the socket really is."""
        return self._attached.result()

    def _main(self) -> None:
        try:
            with self._link() as link:
                self._attached.set_result(link.endpoint)
                while not self._stopping:
                    link.renew()
                    self._turn(link)
                self._end(link)
        except BaseException as error:
            if self._attached.done():
                self._failure = error
            else:
                self._attached.set_exception(error)
