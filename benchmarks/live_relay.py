"""A cable between two sockets that can be cut: a TCP relay that closes its connections, or lets nothing pass.

Knows bytes only. Invariant: while it passes, all bytes of a connection come out in their order; those of a silence come
after it, as TCP would send them again.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

_POLL_S = 0.02
_CHUNK_BYTES = 1 << 16
Way = Literal["passing", "closed", "silent"]


class Cable:
    """Listens at `endpoint`, on loopback, for connections to `there`."""

    def __init__(self, there: str) -> None:
        host, port = there.removeprefix("tcp://").rsplit(":", 1)
        self._there = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.way: Way = "passing"
        self._ended = False
        self._threads = [threading.Thread(target=self._listen, name="cable")]

    def start(self) -> None:
        self._threads[0].start()

    def end(self) -> None:
        """Close all and join; idempotent."""
        self._ended = True
        for thread in self._threads:
            thread.join()

    def _listen(self) -> None:
        with self._listener:
            self._listener.settimeout(_POLL_S)
            while not self._ended:
                try:
                    near, _ = self._listener.accept()
                except TimeoutError:
                    continue
                if self.way == "closed":
                    near.close()
                    continue
                try:
                    far = socket.create_connection(self._there)
                except OSError:
                    near.close()
                    continue
                for pair in ((near, far), (far, near)):
                    self._threads.append(threading.Thread(target=self._pass_on, args=pair, name="cable"))
                    self._threads[-1].start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with one, suppress(OSError):
            one.settimeout(_POLL_S)
            while not self._ended and self.way != "closed":
                if self.way == "silent":
                    threading.Event().wait(_POLL_S)
                    continue
                try:
                    data = one.recv(_CHUNK_BYTES)
                except TimeoutError:
                    continue
                if not data:
                    break
                self._send(other, data)
            other.shutdown(socket.SHUT_RDWR)  # the other direction ends, too

    def _send(self, other: socket.socket, data: bytes) -> None:
        left = memoryview(data)
        while left and not self._ended and self.way != "closed":
            with suppress(TimeoutError):
                left = left[other.send(left) :]


@contextmanager
def cable(there: str) -> Iterator[Cable]:
    """To `there`, laid until the end of the block."""
    laid = Cable(there)
    laid.start()
    try:
        yield laid
    finally:
        laid.end()
