"""A TCP relay between two sockets: it notes what passes, may change it, and can be cut.

Knows bytes only. Invariant: while it passes, all bytes of a connection leave in the order they came; those of a silence
follow it, as TCP would send them again.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

_POLL_S = 0.02
_CHUNK_BYTES = 1 << 16
Way = Literal["passing", "closed", "silent"]


class Relay:
    """Listens at `endpoint`, on loopback, and connects each client to `server`."""

    def __init__(self, server: str) -> None:
        host, port = server.removeprefix("tcp://").rsplit(":", 1)
        self._server = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.way: Way = "passing"
        """`closed`: connections end and new ones are refused; `silent`: they stay, and nothing passes."""
        self.passed = bytearray()
        """All bytes of both directions."""
        self.change: Callable[[bytes], bytes] = lambda data: data
        """Applied to what the server sends."""
        self.connections = 0
        self._ended = False
        self._threads = [threading.Thread(target=self._listen, name="relay")]

    def start(self) -> None:
        self._threads[0].start()

    def end(self) -> None:
        """Close all connections and join the threads; idempotent."""
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
                    far = socket.create_connection(self._server)
                except OSError:
                    near.close()
                    continue
                self.connections += 1
                for ends in ((near, far, False), (far, near, True)):
                    self._threads.append(threading.Thread(target=self._pass_on, args=ends, name="relay"))
                    self._threads[-1].start()

    def _pass_on(self, one: socket.socket, other: socket.socket, of_server: bool) -> None:
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
                self.passed += data
                self._send(other, self.change(data) if of_server else data)
            other.shutdown(socket.SHUT_RDWR)  # the other direction ends, too

    def _send(self, other: socket.socket, data: bytes) -> None:
        left = memoryview(data)
        while left and not self._ended and self.way != "closed":
            with suppress(TimeoutError):
                left = left[other.send(left) :]


@contextmanager
def relaying(server: str) -> Iterator[Relay]:
    """A relay to `server` for the length of the block."""
    relay = Relay(server)
    relay.start()
    try:
        yield relay
    finally:
        relay.end()
