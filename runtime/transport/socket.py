"""ZeroMQ sockets that stay at their endpoints: bound ones cut off revoked clients, connected ones reconnect."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import zmq
from zmq.utils.monitor import recv_monitor_message

from usert.errors import OptionError

from .access import AccessList, Security
from .fault_counter import FaultCounter
from .keys import ClientKeys

S = TypeVar("S", AccessList, ClientKeys)
Options = Mapping[int, int | bytes]
"""Options of a ZeroMQ socket, set before it binds or connects."""

_UNBIND_MS = 1000
_SILENCE_S = 2.0
"""More than the time between two attempts to connect (0.1 to 0.2 s); less than anybody wants to wait."""
_KEY_REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH
_FAILED = _KEY_REFUSED | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_TRYING = zmq.EVENT_CONNECTED | zmq.EVENT_CONNECT_DELAYED | zmq.EVENT_CONNECT_RETRIED | zmq.EVENT_CLOSED
_UP_OR_DOWN = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED

_UNTRIED = "there is no connection yet"
_ABSENT = "nobody listens there"
_MUTE = "what listens there does not answer as ZeroMQ does: another program, or one that stands still"
_HANGS_UP = "hangs up: it is an endpoint of another kind, asks for keys, or is no ZeroMQ"
_GONE = "what listened there has gone"

log = logging.getLogger(__name__)


class ManagedSocket(ABC, Generic[S]):
    """A ZeroMQ socket that is open inside a `with` block, for one thread at a time."""

    _action: ClassVar[Literal["bind", "connect"]]

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        kind: int,
        endpoint: str,
        *,
        options: Options,
        security: S | None = None,
    ) -> None:
        """`security`: the clients that may connect, or the keys of a client and its server; None: no encryption."""
        self._context = context
        self._kind = kind
        self._options = options
        self._security: S | None = security
        self._faults = FaultCounter(log, "socket not restored")
        self._refused = FaultCounter(log, "not connected")
        self.endpoint = endpoint
        """Where the socket is; once it is open with the real port, where port 0 was asked for."""

    def __enter__(self) -> Self:
        """Errors: `OptionError` for an endpoint or keys that cannot be used."""
        self._make()
        try:
            self._attach()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def connected(self) -> bool:
        """Whether the socket is connected to its peer; False where that is not known, as of one that binds."""
        return False

    @property
    def obstacle(self) -> str:
        """Why the socket is not connected, as far as it can be told, in words; empty where it is, or binds."""
        return ""

    @abstractmethod
    def renew(self) -> None:
        """Replace the socket where that is necessary; `socket` may be another one afterwards.

        The loop that uses the socket calls this now and then. It costs next to nothing while there is nothing to do.
        """

    def _attach(self) -> None:
        """Bind or connect. Errors: `OptionError`."""
        try:
            getattr(self.socket, self._action)(self.endpoint)
        except zmq.ZMQError as error:
            raise OptionError(f"endpoint {self.endpoint}: cannot {self._action}: {error.strerror}") from error

    def _make(self) -> None:
        socket = self._context.socket(self._kind)
        try:
            for option, value in self._options.items():
                socket.setsockopt(option, value)
            if self._security is not None:
                self._security.secure(socket)
        except zmq.ZMQError as error:
            socket.close()
            raise OptionError(
                f"keys: ZeroMQ {zmq.zmq_version()} of this machine cannot use them: {error.strerror}; "
                "pip install pyzmq brings one that can"
            ) from error
        socket.ipv6 = "[" in self.endpoint
        self.socket = socket

    def _reattach(self) -> None:
        try:
            self._attach()
        except OptionError as error:  # another process took the port: it is tried again next time
            self._faults.add("endpoint", str(error))

    def _close(self, linger_ms: int | None = None) -> None:
        self.socket.close(linger_ms)


class BoundSocket(ManagedSocket[AccessList]):
    """A socket that binds, and cuts off clients whose key was revoked.

    ZeroMQ has no way to close one connection. When a key in use is revoked, the socket is closed and another one is
    bound in its place; clients that still have a key reconnect by themselves.
    """

    _action = "bind"
    _bound = False

    def renew(self) -> None:
        """Bind another socket in place of this one if a client that is connected has lost its key."""
        if self._security is None:
            return
        if not self._bound:
            self._reattach()
        elif self._security.revoked:
            self._unbind()
            self._close(linger_ms=0)
            self._security.reset()
            self._make()
            self._reattach()

    def _attach(self) -> None:
        super()._attach()
        self.endpoint = self.socket.get_string(zmq.LAST_ENDPOINT)
        self._bound = True

    def _unbind(self) -> None:
        """Unbind, and wait until the endpoint is free again: ZeroMQ closes it in another thread."""
        self._bound = False
        with self.socket.get_monitor_socket(zmq.EVENT_CLOSED) as monitor:
            self.socket.unbind(self.endpoint)
            monitor.poll(_UNBIND_MS)
            self.socket.disable_monitor()


class ConnectedSocket(ManagedSocket[ClientKeys]):
    """A socket that connects, and is replaced by another one where ZeroMQ has given up.

    ZeroMQ reconnects by itself when the peer goes away, but gives up for good, without an error, after a handshake that
    was refused and after a message that was too large or damaged (libzmq 4.3.5, `session_base_t::engine_error`). The
    events of the socket tell: as long as ZeroMQ tries, there are some.
    """

    _action = "connect"
    _failures = 0
    _obstacle = _UNTRIED

    @property
    def connected(self) -> bool:
        return self._connected

    @property
    def obstacle(self) -> str:
        return self._obstacle

    def look(self) -> None:
        """Note what has become of the connection."""
        while self._monitor.poll(0):
            self._note(recv_monitor_message(self._monitor)["event"])

    def renew(self) -> None:
        """Connect another socket in place of this one if ZeroMQ has given up."""
        self.look()
        if not self._connected and time.monotonic() - self._event_s > _SILENCE_S:
            self._close(linger_ms=0)
            self._make()
            self._reattach()

    def _make(self) -> None:
        super()._make()
        self._monitor = self.socket.get_monitor_socket(_TRYING | _FAILED | _UP_OR_DOWN)
        self._connected, self._event_s = False, time.monotonic()

    def _close(self, linger_ms: int | None = None) -> None:
        self.socket.disable_monitor()
        self._monitor.close()
        super()._close(linger_ms)

    def _note(self, event: int) -> None:
        self._event_s = time.monotonic()
        self._connected = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
        if self._connected:
            self._failures, self._obstacle = 0, ""
        elif event == zmq.EVENT_CLOSED:
            self._obstacle = _ABSENT
        elif event == zmq.EVENT_CONNECTED and self._obstacle in ("", _UNTRIED, _ABSENT):
            self._obstacle = _MUTE
        elif event == zmq.EVENT_DISCONNECTED and self._obstacle == _MUTE:
            self._obstacle = f"what listens there {_HANGS_UP}"
        elif event == zmq.EVENT_DISCONNECTED and not self._obstacle:
            self._obstacle = _GONE
        elif event & _FAILED:
            self._failures += 1
            kind, reason = "handshake", "has another key, or only one side has keys"
            if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL and self._security is None:
                reason = _HANGS_UP
            if event == _KEY_REFUSED:
                kind, reason = "key", "does not allow this key"
            self._obstacle = f"what listens there {reason}"
            if self._failures > 1:  # the first may be a server that was just going away
                self._refused.add(kind, f"{self.endpoint} {reason}")


def make_socket(
    context: zmq.Context[zmq.Socket[bytes]],
    kind: int,
    endpoint: str,
    *,
    bind: bool,
    options: Options,
    security: Security | None = None,
) -> ManagedSocket[Any]:
    """A bound or a connected socket, not open yet.

    `security`: an access list if it binds, a client's keys if it connects. Errors: `ValueError` for the other one.
    """
    if bind and not isinstance(security, ClientKeys):
        return BoundSocket(context, kind, endpoint, options=options, security=security)
    if not bind and not isinstance(security, AccessList):
        return ConnectedSocket(context, kind, endpoint, options=options, security=security)
    raise ValueError(
        f"{endpoint}: a socket that binds has an access list, one that connects has a client's keys"
    )
