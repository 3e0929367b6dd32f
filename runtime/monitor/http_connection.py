"""One HTTP request and its answer, over a socket that is never waited for.

Knows no pages, only how to ask for an answer. Invariant: reads no more of a request than `MAX_REQUEST_BYTES`, answers
once, and is over at its deadline, whatever the client does.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

MAX_REQUEST_BYTES = 8192
"""Request line and headers; there is never a body."""
_SPARE_BYTES = 65_536
"""That a client may send beyond it without losing the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a client gets."""

    status: int
    """Of HTTP, such as 200."""
    content_type: str
    body: bytes

    @classmethod
    def error(cls, status: int) -> Page:
        """A page that says what `status` means."""
        return cls(status=status, content_type="text/plain", body=f"{HTTPStatus(status).phrase}\n".encode())

    def to_bytes(self) -> bytes:
        """The whole answer."""
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


class Connection:
    """Reads the request, sends the answer, then reads on until the client has closed, or it might lose the answer."""

    def __init__(self, sock: socket.socket, answer: Callable[[str], Page], *, deadline_ns: int) -> None:
        """`answer`: the page at a path. The socket is this object's from now on."""
        sock.setblocking(False)
        self.socket = sock
        self.deadline_ns = deadline_ns
        self._answer = answer
        self._request = bytearray()
        self._left: memoryview | None = None
        """Of the answer, what is still to be sent; None before there is one, empty when all is sent."""
        self._spare = _SPARE_BYTES

    def step(self) -> int:
        """Do what can be done at once; for which event of `selectors` to wait then, 0 when it is over."""
        try:
            if self._left is None:
                self._left = self._read()
            if self._left:
                self._left = self._left[self.socket.send(self._left) :]
                if not self._left:
                    self.socket.shutdown(socket.SHUT_WR)
            else:
                chunk = self.socket.recv(MAX_REQUEST_BYTES)
                self._spare -= len(chunk)
                if not chunk or self._spare < 0:
                    return 0
        except BlockingIOError:
            pass
        except OSError:  # the client is gone
            return 0
        return selectors.EVENT_WRITE if self._left else selectors.EVENT_READ

    def close(self) -> None:
        """Give the socket back."""
        self.socket.close()

    def _read(self) -> memoryview:
        """The answer to a whole request. Errors: `BlockingIOError` while it is not, `OSError` if it never will be."""
        chunk = self.socket.recv(MAX_REQUEST_BYTES)
        if not chunk:
            raise ConnectionAbortedError
        self._request += chunk
        if len(self._request) > MAX_REQUEST_BYTES:
            page = Page.error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif b"\r\n\r\n" in self._request or b"\n\n" in self._request:
            page = self._page()
        else:
            raise BlockingIOError
        return memoryview(page.to_bytes())

    def _page(self) -> Page:
        words = bytes(self._request).split(b"\n", 1)[0].rstrip(b"\r").split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return Page.error(HTTPStatus.BAD_REQUEST)
        method, target, _ = words
        if method != b"GET":
            return Page.error(HTTPStatus.NOT_FOUND)
        return self._answer(target.partition(b"?")[0].decode("latin-1"))
