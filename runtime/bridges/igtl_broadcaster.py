"""A TCP server that broadcasts: each client gets the newest message of each device.

What clients send is read and discarded. The server of `pyigtl` serves one client at a time, disconnects a client that
does not take an image within 10 ms, and sends a new client what was queued for the one before. Invariant: a slow,
stalled or killed client costs one queued message a device and delays no other; each message is sent whole or the
connection is closed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from usert.errors import expect

from ..transport.address import listen, require_loopback
from ..transport.lifecycle import Worker

MOST_CLIENTS = 16
_STALLED_S = 30.0
"""A client that has not received a message after this time is disconnected."""
_SEND_BUFFER_BYTES = 1 << 20
"""Messages in this buffer become old; with a smaller one large images take longer."""
_READ_BYTES = 1 << 16
_QUEUE_CONNECTIONS = 16


@dataclass(slots=True, eq=False)
class _Client:
    waiting: dict[str, bytes] = field(default_factory=dict)
    filled: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, messages: Mapping[str, bytes]) -> None:
        self.waiting.update(messages)
        self.filled.set()


class Broadcaster(Worker):
    """Broadcasts from a thread of its own: `with Broadcaster(host, port) as b: b.offer({"strain": message})`."""

    def __init__(self, host: str, port: int, *, insecure: bool = False) -> None:
        """`port`: 0 is any free one. Errors: `OptionError` for an address that is not loopback, unless `insecure`."""
        super().__init__("igtl clients")
        require_loopback(
            host,
            f"--host: got {host!r}, which other machines can reach, and OpenIGTLink is not encrypted: use "
            "127.0.0.1 and an SSH tunnel",
            insecure=insecure,
        )
        expect(0 <= port <= 0xFFFF, "--port", port, "0 to 65535")
        self._address = host, port
        self._clients: set[_Client] = set()
        self.served = 0
        """Number of clients so far."""
        self.rejected = 0
        """Clients rejected because `MOST_CLIENTS` were connected."""
        self.disconnected = 0
        """Clients disconnected because they stalled."""

    def _open(self, stack: ExitStack) -> None:
        host, port = self._address
        self._listener = stack.enter_context(
            listen(host, port, name=f"--host {host} --port {port}", backlog=_QUEUE_CONNECTIONS)
        )
        # of its connections, too
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        host, self.port = self._listener.getsockname()[:2]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        """The address that is really bound."""
        self._events = asyncio.new_event_loop()
        stack.callback(self._events.close)
        self._ended = asyncio.Event()
        self._start(stack)

    def _end(self) -> None:
        with suppress(RuntimeError):  # the loop has ended by an error
            self._events.call_soon_threadsafe(self._ended.set)
        super()._end()

    @property
    def count(self) -> int:
        """Number of connected clients."""
        return len(self._clients)

    def offer(self, messages: Mapping[str, bytes]) -> None:
        """Send `messages`, by device, to all clients in this order; each replaces a queued older one of its device.

        Safe in any thread. Errors: whatever ended the serving thread.
        """
        self.check()
        with suppress(RuntimeError):
            self._events.call_soon_threadsafe(self._spread, dict(messages))

    def _spread(self, messages: Mapping[str, bytes]) -> None:
        for client in self._clients:
            client.offer(messages)

    def _work(self) -> None:
        self._events.run_until_complete(self._serve())

    async def _serve(self) -> None:
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self._ended.is_set():
                writer.transport.abort()
                return
            task = asyncio.create_task(self._handle(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(
            connected, sock=self._listener, limit=_READ_BYTES, backlog=_QUEUE_CONNECTIONS
        )
        await self._ended.wait()
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()  # from Python 3.12 on it waits for the connections

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client()
        try:
            if len(self._clients) >= MOST_CLIENTS:
                self.rejected += 1
                return
            self.served += 1
            self._clients.add(client)
            ways = {asyncio.create_task(_discard(reader)), asyncio.create_task(self._send(client, writer))}
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            self._clients.discard(client)
            writer.transport.abort()  # at once: a stalled client would never take the rest

    async def _send(self, client: _Client, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=0)
        while True:
            await client.filled.wait()
            client.filled.clear()
            messages, client.waiting = client.waiting, {}
            for message in messages.values():
                writer.write(message)
                try:
                    async with asyncio.timeout(_STALLED_S):
                        await writer.drain()
                except TimeoutError:
                    self.disconnected += 1
                    return


async def _discard(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(_READ_BYTES):
            pass
