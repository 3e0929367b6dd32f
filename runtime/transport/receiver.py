"""A socket that receives messages in a thread of its own.

Invariant: no message, however broken, ends the thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Generic, Literal, TypeVar

import zmq

from ..protocol.age import now_ns
from ..protocol.header import MAX_PARTS, Buffer, MalformedError
from .access import Security
from .fault_counter import FaultCounter
from .lifecycle import POLL_MS, Worker
from .socket import make_socket

M = TypeVar("M")
ReceiverType = Literal["sub", "pull"]
_KINDS: dict[ReceiverType, int] = {"sub": zmq.SUB, "pull": zmq.PULL}
_QUEUE_MESSAGES = 4
"""Small: what waits in a queue is old, and the thread empties it as fast as it fills."""

log = logging.getLogger(__name__)


class Receiver(Worker, Generic[M]):
    """Receives messages while it is open, and gives each well-formed one to a function at once."""

    def __init__(
        self,
        *,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        socket_type: ReceiverType = "sub",
        bind: bool = False,
        max_bytes: int,
        decode: Callable[[Sequence[Buffer]], M],
        accept: Callable[[M, int], None],
        security: Security | None = None,
    ) -> None:
        """`max_bytes`: of one part; whoever sends more is cut off.

        `decode` makes a message of its parts, or raises `MalformedError`. `accept` takes a message and the time of its
        arrival (`now_ns`); it is called in the receiver's thread.
        """
        super().__init__(f"receive {endpoint}")
        self._decode = decode
        self._accept = accept
        options: dict[int, int | bytes] = {
            zmq.LINGER: 0,
            zmq.RCVHWM: _QUEUE_MESSAGES,
            zmq.MAXMSGSIZE: max_bytes,
        }
        if socket_type == "sub":
            options[zmq.SUBSCRIBE] = b""
        self._socket = make_socket(
            context, _KINDS[socket_type], endpoint, bind=bind, options=options, security=security
        )
        self.malformed = FaultCounter(log, "malformed message")
        """Messages that broke the protocol, by fault; they are dropped."""
        self.received = False
        """Whether any message, well-formed or not, ever came."""
        self._accepted = False
        self._fault = ""
        """Fault of the newest malformed message."""

    @property
    def endpoint(self) -> str:
        """Where the socket is; once it is open with the real port, where port 0 was asked for."""
        return self._socket.endpoint

    @property
    def connected(self) -> bool:
        """Whether the sender that the socket connects to is there; False where the socket binds."""
        return self._socket.connected

    @property
    def obstacle(self) -> str:
        """Why no well-formed message has come yet, as far as it can be told, in words; empty where one has."""
        if self._accepted:
            return ""
        if self._fault:
            return f"what comes from there is malformed: {self._fault}"
        return self._socket.obstacle or "connected, and nothing was sent yet"

    def _open(self, stack: ExitStack) -> None:
        stack.enter_context(self._socket)
        self._start(stack)

    def _work(self) -> None:
        while not self.stopping:
            self._socket.renew()
            self.malformed.log_repeated()
            if self._socket.socket.poll(POLL_MS):
                self._take(receive_parts(self._socket.socket))

    def _take(self, parts: list[Buffer]) -> None:
        arrived_ns = now_ns()
        self.received = True
        try:
            message = self._decode(parts)
        except MalformedError as error:
            self._fault = str(error)
            self.malformed.add(error.fault, str(error))
            return
        self._accepted = True
        self._accept(message, arrived_ns)


def receive_parts(socket: zmq.Socket[bytes]) -> list[Buffer]:
    """All parts of the next message, of which those beyond one more than `MAX_PARTS` are dropped."""
    parts: list[Buffer] = []
    while True:
        part = socket.recv(copy=False)
        if len(parts) <= MAX_PARTS:
            parts.append(part.buffer)
        if not part.more:
            return parts
