"""Whether ZeroMQ still tries to connect a socket.

Knows a socket's monitor, not its messages. Invariant: while the socket is neither connected nor silent for long,
ZeroMQ is left to its own.

ZeroMQ connects again when the other side goes away, but gives up for good, and says nothing, after a handshake that
was refused and after a message that was too large or damaged (libzmq 4.3.5, `session_base_t::engine_error`).
"""

from __future__ import annotations

import logging
import time

import zmq
from zmq.utils.monitor import recv_monitor_message

from .fault_counter import Tally

_SILENCE_S = 2.0
"""More than the time between two attempts (0.1 to 0.2 s); less than anybody wants to wait."""
_NO_KEY = zmq.EVENT_HANDSHAKE_FAILED_AUTH
_FAILED = _NO_KEY | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_TRYING = zmq.EVENT_CONNECTED | zmq.EVENT_CONNECT_DELAYED | zmq.EVENT_CONNECT_RETRIED | zmq.EVENT_CLOSED
_UP_OR_DOWN = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED

log = logging.getLogger(__name__)


class Pulse:
    """Of one socket after another that connects to the same endpoint; in the thread of the sockets."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._up = False
        self._heard_s = 0.0
        self._failures = 0
        self._refused = Tally(log, "not connected")

    def open(self, socket: zmq.Socket[bytes]) -> None:
        """Begin with `socket`, before it connects."""
        self._socket = socket
        self._monitor = socket.get_monitor_socket(_TRYING | _FAILED | _UP_OR_DOWN)
        self._up, self._heard_s = False, time.monotonic()

    def close(self) -> None:
        """End with the socket; before it is closed."""
        self._socket.disable_monitor()
        self._monitor.close()

    def stopped(self) -> bool:
        """Whether the socket is not connected, and will not be any more."""
        while self._monitor.poll(0):
            self._hear(recv_monitor_message(self._monitor)["event"])
        return not self._up and time.monotonic() - self._heard_s > _SILENCE_S

    def _hear(self, event: int) -> None:
        self._heard_s = time.monotonic()
        self._up = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
        if self._up:
            self._failures = 0
        elif event & _FAILED:
            self._failures += 1
            if self._failures > 1:  # the first may be a server that was just going away
                self._tell(event)

    def _tell(self, event: int) -> None:
        if event == _NO_KEY:
            self._refused.add("key", f"{self._endpoint} does not allow this key")
        else:
            self._refused.add("handshake", f"{self._endpoint} has another key, or one side has none")
