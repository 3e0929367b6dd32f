"""A socket at its endpoint, that stays there and lets in whom it should.

Knows nothing of messages. Invariant: whoever's key was taken away is cut off at the next `renew()`, and a
socket that connects does not give up as long as `renew()` is called.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import zmq

from usert.errors import OptionError

from .access import Guard, Security
from .fault_counter import Tally
from .pulse import Pulse

_UNBIND_MS = 1000

log = logging.getLogger(__name__)


class Link:
    """A `with` block in the thread that uses the socket.

    A revoked client is cut off by closing the socket and binding another in its place, because ZeroMQ has no way
    to close one connection. The clients that still have a key connect again by themselves.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        kind: int,
        endpoint: str,
        *,
        bind: bool,
        options: Mapping[int, int | bytes],
        security: Security | None = None,
    ) -> None:
        """`options`: those of the socket, set before it binds or connects."""
        if security is not None and isinstance(security, Guard) != bind:
            raise ValueError(
                f"{endpoint}: a socket that binds has a guard, one that connects a client's keys"
            )
        self._context = context
        self._kind = kind
        self._options = options
        self._security = security
        self._pulse = None if bind else Pulse(endpoint)
        self._bound = False
        self._shut = Tally(log, "clients wait outside")
        self.endpoint = endpoint
        """Where the socket really is, once it is there."""

    def __enter__(self) -> Self:
        self._make()
        try:
            self._attach()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def renew(self) -> None:
        """Make the socket anew if a client lost its key, or if it connects and ZeroMQ has given up.

        For the loop that uses the socket, every now and then; `socket` may be another one afterwards. Costs next
        to nothing while there is nothing to do.
        """
        if self._pulse is not None:
            if self._pulse.stopped():
                self._again()
        elif isinstance(self._security, Guard):
            if self._bound and self._security.revoked:
                self._unbind()
                self._again(self._security)
            elif not self._bound:
                self._bind_again()

    def _again(self, guard: Guard | None = None) -> None:
        self._close(linger_ms=0)
        if guard is not None:
            guard.forget()
        self._make()
        self._bind_again()

    def _bind_again(self) -> None:
        try:
            self._attach()
        except OptionError as error:  # somebody took the place: it is tried again next time
            self._shut.add("bind", str(error))

    def _make(self) -> None:
        socket = self._context.socket(self._kind)
        try:
            for option, value in self._options.items():
                socket.setsockopt(option, value)
            self._secure(socket)
        except BaseException:
            socket.close()
            raise
        if self._pulse is not None:
            self._pulse.open(socket)
        self.socket = socket

    def _secure(self, socket: zmq.Socket[bytes]) -> None:
        if self._security is None:
            return
        try:
            self._security.secure(socket)
        except zmq.ZMQError as error:
            raise OptionError(
                f"keys: ZeroMQ {zmq.zmq_version()} of this machine cannot use them: {error.strerror}; "
                "pip install pyzmq brings one that can"
            ) from error

    def _attach(self) -> None:
        self.endpoint = _attach(self.socket, self.endpoint, bind=self._pulse is None)
        self._bound = True

    def _unbind(self) -> None:
        """Until the endpoint is free again: ZeroMQ closes it in another thread."""
        self._bound = False
        with self.socket.get_monitor_socket(zmq.EVENT_CLOSED) as monitor:
            self.socket.unbind(self.endpoint)
            monitor.poll(_UNBIND_MS)
            self.socket.disable_monitor()

    def _close(self, linger_ms: int | None = None) -> None:
        if self._pulse is not None:
            self._pulse.close()
        self.socket.close(linger_ms)


def _attach(socket: zmq.Socket[bytes], endpoint: str, *, bind: bool) -> str:
    """Bind or connect `socket`, and return where it really is (port 0 becomes a free port)."""
    socket.ipv6 = "[" in endpoint
    try:
        if not bind:
            socket.connect(endpoint)
            return endpoint
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise OptionError(
            f"endpoint {endpoint}: cannot {'bind' if bind else 'connect'}: {error.strerror}"
        ) from error
    return socket.get_string(zmq.LAST_ENDPOINT)
