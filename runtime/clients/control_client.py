"""A client of the control channel, which sends commands to a live server and waits for their replies.

Invariant: what `ask` returns is the reply to its own command; a socket on which a reply may still arrive is never used
again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import zmq

from usert.errors import ControlError

from ..protocol.commands import ChangeBundle, Command, Compare, Reply, Status
from ..protocol.header import MAX_HEADER_BYTES
from ..transport.address import check_endpoint
from ..transport.keys import ClientKeys
from ..transport.lifecycle import POLL_MS, Service
from ..transport.socket import ConnectedSocket

TIMEOUT_S = 5.0
_SLOW_S: Mapping[type[Command], float] = {ChangeBundle: 600.0, Compare: 60.0}
"""Time-outs of commands that take long: a bundle is loaded and its engine warmed up, a pair of frames must come."""


class ControlClient(Service):
    """Sends commands one after the other: `with ControlClient(endpoint) as client: client.ask(Status())`."""

    def __init__(
        self,
        endpoint: str,
        *,
        keys: ClientKeys | None = None,
        insecure: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`timeout_s`: how long to wait for a reply; longer for a slow command, once the server has replied to another.

        `keys`: those of this client and its server. `insecure`: allow a server on another machine without keys.
        Errors: `OptionError` for the endpoint.
        """
        super().__init__()
        self._endpoint = check_endpoint(endpoint, insecure=insecure, keyed=keys is not None)
        self._keys = keys
        self._timeout_s = timeout_s
        self._connected: ConnectedSocket | None = None

    def _open(self, stack: ExitStack) -> None:
        self._context = stack.enter_context(zmq.Context())
        stack.callback(self._disconnect)

    def ask(self, command: Command) -> dict[str, Any]:
        """Send `command` and return its result.

        Errors: `ControlError` with the server's message, or when none comes; `WireError` for a malformed reply.
        """
        with self._loop():
            slow_s = _SLOW_S.get(type(command), 0.0)
            if slow_s > self._timeout_s:
                self._exchange(Status(), self._timeout_s)
            reply = self._exchange(command, max(slow_s, self._timeout_s))
        if reply.result is None:
            raise ControlError(reply.error)
        return dict(reply.result)

    def _exchange(self, command: Command, timeout_s: float) -> Reply:
        socket = self._socket()
        try:
            socket.send_multipart(command.to_parts(), zmq.NOBLOCK)
            self._wait(socket, timeout_s)
            return Reply.from_parts(socket.recv_multipart())
        except zmq.Again as error:  # the connection has ended since
            refusal = self._no_reply(0.0)
            self._disconnect()
            raise refusal from error
        except BaseException:
            self._disconnect()
            raise

    def _wait(self, socket: zmq.Socket[bytes], timeout_s: float) -> None:
        """Wait until there is a reply. Errors: `ControlError`."""
        deadline = time.monotonic() + timeout_s
        while not socket.poll(POLL_MS):
            if self.stopping:
                raise ControlError(f"stopped before {self._endpoint} answered")
            if time.monotonic() >= deadline:
                raise self._no_reply(timeout_s)

    def _no_reply(self, timeout_s: float) -> ControlError:
        allowed = "" if self._keys is None else ", and does it allow this key"
        obstacle = ""
        if self._connected is not None:
            self._connected.look()
            obstacle = self._connected.obstacle
        return ControlError(
            f"no answer from {self._endpoint} in {timeout_s:g} s: {obstacle or 'connected, and no reply came'}; "
            f"is it the --control of a `usert serve` that runs{allowed}?"
        )

    def _socket(self) -> zmq.Socket[bytes]:
        """A socket that takes a command: ZeroMQ may have given up the last one since (see `ConnectedSocket`)."""
        if self._connected is not None and not self._connected.socket.poll(0, zmq.POLLOUT):
            self._disconnect()
        if self._connected is None:
            self._connected = ConnectedSocket(
                self._context,
                zmq.REQ,
                self._endpoint,
                options={zmq.LINGER: 0, zmq.MAXMSGSIZE: MAX_HEADER_BYTES},
                security=self._keys,
            ).__enter__()
        return self._connected.socket

    def _disconnect(self) -> None:
        if self._connected is not None:
            self._connected.__exit__(None, None, None)
            self._connected = None
