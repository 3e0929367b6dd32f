"""HTTP server of the monitor: a few pages, made when somebody asks for them.

One thread serves all connections by asyncio and waits for none of them: however many clients ask, the server of images
shares the interpreter with one thread. A client that sends nothing, too much or too slowly holds one of
`MAX_CONNECTIONS` until its deadline, or until a newer client needs the place. Invariant: neither a client nor a page
ends the thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from ..protocol.age import now_ns
from ..transport.address import listen, parse_monitor_address
from ..transport.fault_counter import FaultCounter
from ..transport.lifecycle import POLL_MS, Worker
from .health import Health
from .metrics import CONTENT_TYPE, Metrics

MAX_CONNECTIONS = 32
"""Open at the same time."""
MAX_REQUEST_BYTES = 8192
"""Size of a request line with its headers; a body is never read."""
DEADLINE_S = 5.0
"""Time for a request and its answer, from the first byte to the last."""
_BACKLOG = 128
"""Connections that the system holds until they are accepted: one more would be tried again after a second."""
_DISCARDED_BYTES = 65_536
"""What a client may send after its request; closing a socket with unread bytes could lose the answer."""
_GRACE_S = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Answer to a request."""

    status: int
    """HTTP status, such as 200."""
    content_type: str
    body: bytes

    @classmethod
    def error(cls, status: int) -> Page:
        """A line of text with the meaning of `status`."""
        return cls(status=status, content_type="text/plain", body=f"{HTTPStatus(status).phrase}\n".encode())

    def to_bytes(self) -> bytes:
        """The response with its status line and headers."""
        lines = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
            "",
            "",
        )
        return "\r\n".join(lines).encode("ascii") + self.body


def monitor_pages(metrics: Metrics, health: Health) -> dict[str, Callable[[], Page]]:
    """Pages of a live server by their paths: `/metrics` and `/health`.

    The status of `/health` is 200 for a server that is to be left alone, and 503 for one that should be restarted.
    """

    def show_metrics() -> Page:
        return Page(status=HTTPStatus.OK, content_type=CONTENT_TYPE, body=metrics.text())

    def show_health() -> Page:
        report = health.report(now_ns())
        return Page(
            status=HTTPStatus.OK if report.healthy else HTTPStatus.SERVICE_UNAVAILABLE,
            content_type="application/json",
            body=f"{report.to_json()}\n".encode(),
        )

    return {"/metrics": show_metrics, "/health": show_health}


class MonitorServer(Worker):
    """Serves pages by HTTP, in a thread of its own, while inside `with MonitorServer(...) as monitor:`."""

    def __init__(
        self,
        address: str,
        pages: Mapping[str, Callable[[], Page]],
        *,
        insecure: bool = False,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Check the arguments; the socket is bound at the beginning of the `with` block.

        Parameters:
            address: `HOST:PORT`; port 0 is any free one.
            pages: by path; called in this server's thread for each request.
            insecure: allow an address that other machines can reach.
            deadline_s: time for a request and its answer, in seconds.

        Errors: `OptionError` for an address that is malformed, not allowed, or, at the `with`, not free.
        """
        super().__init__("monitor")
        self._host, self._port = parse_monitor_address(address, insecure=insecure)
        self._pages = dict(pages)
        self._deadline_s = deadline_s
        self._connections: dict[asyncio.StreamWriter, None] = {}
        """Oldest first."""
        self._faults = FaultCounter(log, "monitor")

    def _open(self, stack: ExitStack) -> None:
        self._listener = stack.enter_context(
            listen(
                self._host, self._port, name=f"monitor address {self._host}:{self._port}", backlog=_BACKLOG
            )
        )
        host, port = self._listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        """Address with the port that was really bound, without a path."""
        self._start(stack)

    def _end(self) -> None:
        self.stop()
        self._thread.join(_GRACE_S)
        if self._thread.is_alive():
            log.warning("monitor: a page does not return; its thread is abandoned")

    def _work(self) -> None:
        asyncio.run(self._serve())  # which at the end cancels the connections that are left

    async def _serve(self) -> None:
        asyncio.get_running_loop().set_exception_handler(self._loop_fault)
        server = await asyncio.start_server(
            self._attend, sock=self._listener, limit=MAX_REQUEST_BYTES, backlog=_BACKLOG
        )
        while not self.stopping:
            await asyncio.sleep(POLL_MS / 1e3)
        server.close()

    def _loop_fault(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._faults.add(context["message"], str(context.get("exception", "")))

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            self._drop(next(iter(self._connections)))
        self._connections[writer] = None
        try:
            with suppress(OSError, TimeoutError):  # the client is gone, or had to make room
                async with asyncio.timeout(self._deadline_s):
                    page = await self._respond(reader)
                    writer.write(page.to_bytes())
                    writer.write_eof()
                    left = _DISCARDED_BYTES
                    while left > 0 and (chunk := await reader.read(MAX_REQUEST_BYTES)):
                        left -= len(chunk)
                    writer.close()
                    await writer.wait_closed()
        finally:
            self._drop(writer)

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._connections.pop(writer, None)
        writer.transport.abort()

    async def _respond(self, reader: asyncio.StreamReader) -> Page:
        try:
            request = line = await reader.readline()
            size = len(line)
            while line.strip() and size <= MAX_REQUEST_BYTES:
                line = await reader.readline()
                size += len(line)
        except ValueError:  # a line longer than `limit`
            size = MAX_REQUEST_BYTES + 1
        if size > MAX_REQUEST_BYTES:
            return Page.error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        words = request.rstrip(b"\r\n").split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return Page.error(HTTPStatus.BAD_REQUEST)
        method, target, _ = words
        path = target.partition(b"?")[0].decode("latin-1")
        if method != b"GET" or path not in self._pages:
            return Page.error(HTTPStatus.NOT_FOUND)
        try:
            return self._pages[path]()
        except Exception as error:  # one page that fails ends neither the thread nor the other pages
            self._faults.add(f"{path}: {type(error).__name__}", str(error))
            return Page.error(HTTPStatus.INTERNAL_SERVER_ERROR)
