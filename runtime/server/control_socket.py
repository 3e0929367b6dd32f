"""The control channel of a live server: a thread that takes commands from one ROUTER socket and answers them.

Invariant: every command that is read gets one reply, whatever becomes of it, and neither a message, nor a slow command,
nor a client that sends too many delays the replies to others.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

import zmq

from usert.errors import UsertError

from ..protocol.commands import Command, Quit, Reply, Status, StopRecord, read_command
from ..protocol.header import MAX_HEADER_BYTES, Buffer, MalformedError
from ..transport.access import AccessList
from ..transport.fault_counter import FaultCounter
from ..transport.lifecycle import POLL_MS, Worker
from ..transport.receiver import receive_parts
from ..transport.socket import BoundSocket

_RATE_HZ, _BURST = 20.0, 40
"""Commands a second that one connection may send, and how many at once after a pause."""
_CONNECTIONS = 256
"""Connections whose allowance is remembered; a forgotten one starts afresh."""
_WAITING, _WAITING_EACH = 64, 8
"""Commands that may be pending, of all connections and of one."""
ALWAYS = (Status, StopRecord, Quit)
"""Commands that are taken however many are pending: what an operator needs when nothing else works."""
EXPIRES_S = 60.0
"""How long a command may wait for what it needs, such as a pair of frames to compare."""
_WAITING_POLL_MS = 5
"""`POLL_MS` while commands are pending: the most that a reply is delayed."""
_QUEUE_MESSAGES = 64
_LINGER_MS = 500
"""How long the last replies may take to leave."""

Result: TypeAlias = Mapping[str, Any]

log = logging.getLogger(__name__)


class Allowance:
    """Rate limit of commands: a token bucket for each of `most` connections, filled at `rate_hz` up to `burst`."""

    def __init__(self, rate_hz: float = _RATE_HZ, burst: int = _BURST, most: int = _CONNECTIONS) -> None:
        self._rate_hz = rate_hz
        self._burst = burst
        self._most = most
        self._buckets: dict[bytes, tuple[float, float]] = {}

    def take(self, who: bytes, now_s: float) -> bool:
        """Take a token of the connection `who`; False where it has none."""
        tokens, then_s = self._buckets.pop(who, (float(self._burst), now_s))
        tokens = min(self._burst, tokens + (now_s - then_s) * self._rate_hz)
        allowed = tokens >= 1
        self._buckets[who] = (tokens - allowed, now_s)  # the newest is last
        if len(self._buckets) > self._most:
            del self._buckets[next(iter(self._buckets))]
        return allowed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sender:
    """The client that a reply goes to: its address at one socket. The socket may be replaced (`BoundSocket.renew`)."""

    socket: zmq.Socket[bytes]
    envelope: list[bytes]

    @property
    def who(self) -> bytes:
        return self.envelope[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Waiting:
    """A command whose reply is pending."""

    sender: _Sender
    name: str
    future: Future[Result]
    expires_s: float
    """When to give up, by the monotonic clock."""


class ControlServer(Worker):
    """Gives each command to a handler and sends the result of its future when it is done."""

    def __init__(
        self,
        *,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        handle: Callable[[Command], Future[Result]],
        access: AccessList | None = None,
        expires_s: float = EXPIRES_S,
    ) -> None:
        """`handle` returns at once. A `UsertError` that it or its future raises is sent to the client.

        A future that can still be cancelled `expires_s` after its command came is cancelled, and the client gets an
        error.
        """
        super().__init__(f"control {endpoint}")
        self._socket = BoundSocket(
            context,
            zmq.ROUTER,
            endpoint,
            security=access,
            options={
                zmq.LINGER: _LINGER_MS,
                zmq.RCVHWM: _QUEUE_MESSAGES,
                zmq.SNDHWM: _QUEUE_MESSAGES,  # beyond it, replies to a client that does not read them are dropped
                zmq.MAXMSGSIZE: MAX_HEADER_BYTES,
            },
        )
        self._handle = handle
        self._expires_s = expires_s
        self._allowance = Allowance()
        self._waiting: list[_Waiting] = []
        self.malformed = FaultCounter(log, "malformed command")
        self.refused = FaultCounter(log, "command refused")
        """Refused commands: `rate` and `waiting`, too many of them; `expired`, not begun in time."""
        self.failed = FaultCounter(log, "command failed")
        """Commands whose handler failed, by the type of the error."""

    @property
    def endpoint(self) -> str:
        """Endpoint of the socket; once it is open with the real port, where port 0 was asked for."""
        return self._socket.endpoint

    def _open(self, stack: ExitStack) -> None:
        stack.enter_context(self._socket)
        self._start(stack)

    def _work(self) -> None:
        while not self.stopping:
            self._socket.renew()
            for faults in (self.malformed, self.refused, self.failed):
                faults.log_repeated()
            if self._socket.socket.poll(_WAITING_POLL_MS if self._waiting else POLL_MS):
                self._take(self._socket.socket)
            self._answer()
        self._answer()
        for waiting in self._waiting:
            self._send(waiting.sender, Reply.refusal(waiting.name, "the server is closing").to_parts())

    def _take(self, socket: zmq.Socket[bytes]) -> None:
        envelope, body = _receive(socket)
        sender = _Sender(socket=socket, envelope=envelope)
        if not self._allowance.take(sender.who, time.monotonic()):
            self._refuse(sender, "", "rate", f"expected at most {_RATE_HZ:g} a second, {_BURST} at once")
            return
        try:
            command = read_command(body)
        except MalformedError as error:
            self.malformed.add(error.fault, "the client got the error")  # the log takes no payload
            self._send(sender, Reply.refusal("", str(error)).to_parts())
            return
        if self._crowded(sender.who, command):
            self._refuse(sender, command.name, "waiting", "wait until the pending ones are answered")
            return
        if not isinstance(command, Status):
            log.info("control: %s", command.name)
        future: Future[Result]
        try:
            future = self._handle(command)
        except Exception as error:  # as if the future had brought it
            future = Future()
            future.set_exception(error)
        expires_s = time.monotonic() + self._expires_s
        self._waiting.append(_Waiting(sender=sender, name=command.name, future=future, expires_s=expires_s))

    def _crowded(self, who: bytes, command: Command) -> bool:
        if isinstance(command, ALWAYS):
            return len(self._waiting) >= 2 * _WAITING
        own = sum(waiting.sender.who == who for waiting in self._waiting)
        return own >= _WAITING_EACH or len(self._waiting) >= _WAITING

    def _refuse(self, sender: _Sender, name: str, kind: str, remedy: str) -> None:
        self.refused.add(kind, "too many")
        self._send(sender, Reply.refusal(name, f"too many commands: {remedy}").to_parts())

    def _answer(self) -> None:
        """Send the replies of finished commands, and an error for those that have waited too long."""
        now_s = time.monotonic()
        for waiting in tuple(self._waiting):
            if waiting.future.done():
                reply = self._reply(waiting.name, waiting.future)
            elif now_s > waiting.expires_s and waiting.future.cancel():
                self.refused.add("expired", f"{waiting.name} after {self._expires_s:g} s")
                late = f"{waiting.name}: not begun within {self._expires_s:g} s, and given up"
                reply = Reply.refusal(waiting.name, late).to_parts()
            else:
                continue
            self._waiting.remove(waiting)
            self._send(waiting.sender, reply)

    def _send(self, sender: _Sender, parts: list[Buffer]) -> None:
        """Send, unless the client's socket was replaced; a ROUTER never waits, it drops."""
        if sender.socket is self._socket.socket:
            sender.socket.send_multipart([*sender.envelope, *parts])

    def _reply(self, name: str, future: Future[Result]) -> list[Buffer]:
        error = CancelledError() if future.cancelled() else future.exception()
        if error is None:
            try:
                return Reply(command=name, result=dict(future.result())).to_parts()
            except Exception as unsendable:  # a result that is no JSON object: the handler's mistake
                error = unsendable
        if isinstance(error, UsertError):
            return Reply.refusal(name, str(error)).to_parts()
        kind = type(error).__name__
        self.failed.add(kind, f"{name}, {_place(error)}")
        return Reply.refusal(name, f"{name} failed: {kind}, which the server logged; it goes on").to_parts()


def _receive(socket: zmq.Socket[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The envelope and the parts of the next message.

    The envelope is the routing id, then what a REQ socket or a proxy put before the first empty part, and that; a
    DEALER socket may send without. The reply goes back in the same.
    """
    parts = [bytes(part) for part in receive_parts(socket)]
    cut = parts.index(b"", 1) + 1 if b"" in parts[1:] else 1
    return parts[:cut], parts[cut:]


def _place(error: BaseException) -> str:
    """Where it was raised: what it says may hold what was sent."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "nowhere"
