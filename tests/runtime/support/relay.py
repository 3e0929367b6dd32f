"""Somebody on the way: a TCP relay that writes down all it passes on, and may change it."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager


class Relay:
    """Between one client at a time and the server; `change` is applied to what the server sends."""

    def __init__(self, server: str) -> None:
        host, port = server.removeprefix("tcp://").rsplit(":", 1)
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.passed = bytearray()
        """All bytes of both directions."""
        self.change: Callable[[bytes], bytes] = lambda data: data
        self.connections = 0
        self._stopping = False

    def run(self) -> None:
        with self._listener:
            self._listener.settimeout(0.05)
            while not self._stopping:
                try:
                    client, _ = self._listener.accept()
                except TimeoutError:
                    continue
                self.connections += 1
                with client, socket.create_connection(self._server) as server:
                    self._pass_on(client, server)

    def stop(self) -> None:
        self._stopping = True

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while not self._stopping:
                for key, _ in ready.select(0.05):
                    try:
                        data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
                    except ConnectionError:
                        return
                    if not data:
                        return
                    self.passed += data
                    key.data.sendall(self.change(data) if key.fileobj is server else data)


@contextmanager
def relaying(server: str) -> Iterator[Relay]:
    """A relay to `server`, in a thread."""
    relay = Relay(server)
    with ExitStack() as stack:
        thread = threading.Thread(target=relay.run)
        thread.start()
        stack.callback(thread.join)
        stack.callback(relay.stop)
        yield relay
