"""A thread that owns one receiving socket, and hands on every well-formed message at once.

Knows nothing of what a message means or what becomes of it. Invariant: the socket is made, used and closed by
this thread alone, and no message, however broken, ends it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Generic, Literal, TypeVar

import zmq

from ..protocol.age import now_ns
from ..protocol.header import MAX_PARTS, Buffer, MalformedError
from .access import Security
from .fault_counter import Tally
from .lifecycle import POLL_MS
from .socket import Link
from .worker import LinkThread

M = TypeVar("M")
ReceiverType = Literal["sub", "pull"]
_KINDS: dict[ReceiverType, int] = {"sub": zmq.SUB, "pull": zmq.PULL}
_QUEUE_MESSAGES = 4
"""Small: what waits in a queue is old, and the thread empties it as fast as it fills."""

log = logging.getLogger(__name__)


class Receiver(LinkThread, Generic[M]):
    """Give `accept` each message with its time of arrival (`now_ns`), in the receiving thread."""

    def __init__(
        self,
        *,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        socket_type: ReceiverType,
        bind: bool,
        max_bytes: int,
        decode: Callable[[Sequence[Buffer]], M],
        accept: Callable[[M, int], None],
        security: Security | None = None,
    ) -> None:
        super().__init__(f"receive {endpoint}")
        self._context = context
        self._wanted = endpoint
        self._socket_type = socket_type
        self._bind = bind
        self._max_bytes = max_bytes
        self._decode = decode
        self._accept = accept
        self._security = security
        self.malformed = Tally(log, "malformed message")

    def _turn(self, link: Link) -> None:
        if link.socket.poll(POLL_MS):
            self._take(_receive_parts(link.socket))

    def _link(self) -> Link:
        options: dict[int, int | bytes] = {
            zmq.LINGER: 0,
            zmq.RCVHWM: _QUEUE_MESSAGES,
            zmq.MAXMSGSIZE: self._max_bytes,
        }
        if self._socket_type == "sub":
            options[zmq.SUBSCRIBE] = b""
        return Link(
            self._context,
            _KINDS[self._socket_type],
            self._wanted,
            bind=self._bind,
            security=self._security,
            options=options,
        )

    def _take(self, parts: list[Buffer]) -> None:
        arrived_ns = now_ns()
        try:
            message = self._decode(parts)
        except MalformedError as error:
            self.malformed.add(error.fault, str(error))
            return
        self._accept(message, arrived_ns)


def _receive_parts(socket: zmq.Socket[bytes]) -> list[Buffer]:
    """All parts of the next message, those beyond one more than `MAX_PARTS` let go unread."""
    parts: list[Buffer] = []
    while True:
        part = socket.recv(copy=False)
        if len(parts) <= MAX_PARTS:
            parts.append(part.buffer)
        if not part.more:
            return parts
