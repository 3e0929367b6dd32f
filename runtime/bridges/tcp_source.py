"""The incoming TCP bridge: frames from programs without ZeroMQ, such as MATLAB, to a live server.

Invariant: a sender that lies, stalls, is killed or half-way through costs its own connection only, and at most the
memory of one message.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import numpy as np

from usert.errors import WireError, expect

from ..protocol.age import now_ns
from ..transport.address import listen, require_loopback
from ..transport.keys import ServerKeys
from ..transport.lifecycle import POLL_MS, Service
from .framing import PREFIX_BYTES, FramingFault, read_prefix
from .relay import Relay

MOST_SENDERS = 8
MESSAGE_S = 5.0
"""Longest time from the first byte of a message to its last."""
_RECEIVES = 16
"""Receives in a row from one sender, so that the others have their turn."""
_REPORT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpConfig:
    """Where senders connect, and where their frames leave."""

    publish: str
    """Endpoint to bind, for `usert serve --rf`."""
    host: str = "127.0.0.1"
    port: int = 5557
    """0 is any free one."""
    keys: ServerKeys | None = None
    """Keys of `publish`."""
    insecure: bool = False


class TcpSource(Service):
    """Sends on the frames of senders that connect to `address`, until `stop()`.

    `with TcpSource(config) as source: source.run()`
    """

    def __init__(self, config: TcpConfig, report: Callable[[str], None] = lambda line: None) -> None:
        """`report` is called with a line when senders come or go or their frames change.

        Errors: `OptionError` for an address that other machines can reach, unless `insecure`.
        """
        super().__init__()
        require_loopback(
            config.host,
            f"--host: got {config.host!r}, which other machines can reach, and this TCP is not encrypted: use "
            "127.0.0.1 and an SSH tunnel",
            insecure=config.insecure,
        )
        expect(0 <= config.port <= 0xFFFF, "--port", config.port, "0 to 65535")
        self.relay = Relay(config.publish, config.keys, report, insecure=config.insecure)
        self._config = config
        self._report = report
        self._reported = ""
        self._senders: set[_Sender] = set()
        self.served = 0
        """Number of connections so far."""

    def _open(self, stack: ExitStack) -> None:
        self.relay.open(stack)
        host, port = self._config.host, self._config.port
        self._listener = stack.enter_context(
            listen(host, port, name=f"--host {host} --port {port}", backlog=MOST_SENDERS)
        )
        self._listener.setblocking(False)
        host, port = self._listener.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        """The address that is really bound."""
        self._selector = stack.enter_context(selectors.DefaultSelector())
        self._selector.register(self._listener, selectors.EVENT_READ)
        stack.callback(self._close_all)

    def run(self) -> None:
        """Pass frames on until `stop()`."""
        with self._loop():
            report_s = time.monotonic()
            while not self.stopping:
                for key, _ in self._selector.select(POLL_MS / 1e3):
                    if key.data is None:
                        self._accept()
                    elif key.data in self._senders:  # a new one may have replaced it
                        self._receive(key.data)
                now_s = time.monotonic()
                for sender in tuple(self._senders):
                    if sender.late(now_s):
                        self._end(sender, "half", f"{sender.progress} in {MESSAGE_S:g} s")
                if now_s >= report_s:
                    self._report_change(f"senders {len(self._senders)}")
                    self.relay.faults.log_repeated()
                    report_s = now_s + _REPORT_S

    def _accept(self) -> None:
        """Accept a connection; of too many the one that was silent longest is closed."""
        with suppress(OSError):  # it has gone again
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if len(self._senders) >= MOST_SENDERS:
                oldest = min(self._senders, key=lambda sender: sender.heard_s)
                self._end(oldest, "half", f"{oldest.progress}: replaced by a newer sender")
            sender = _Sender(connection, self.relay)
            self._senders.add(sender)
            self._selector.register(connection, selectors.EVENT_READ, sender)
            self.served += 1

    def _receive(self, sender: _Sender) -> None:
        try:
            ended = sender.receive()
        except WireError as error:
            self._end(sender, "framing", str(error))
        except OSError as error:
            self._end(sender, "half", f"{sender.progress}: {error.strerror}")
        else:
            if ended:
                self._end(sender, "half", f"{sender.progress}: the sender closed the connection")

    def _end(self, sender: _Sender, fault: FramingFault, detail: str) -> None:
        """Close a connection; between two messages that is no fault."""
        if sender.begun or fault != "half":
            self.relay.faults.add(fault, detail)
        self._close(sender)

    def _close(self, sender: _Sender) -> None:
        self._senders.discard(sender)
        self._selector.unregister(sender.connection)
        sender.connection.close()

    def _close_all(self) -> None:
        for sender in tuple(self._senders):
            self._close(sender)

    def _report_change(self, line: str) -> None:
        if line != self._reported:
            self._report(line)
            self._reported = line


class _Sender:
    """One connection, and how much of its present message has arrived."""

    def __init__(self, connection: socket.socket, relay: Relay) -> None:
        self.connection = connection
        self.heard_s = time.monotonic()
        """When something last arrived."""
        self._relay = relay
        self._begun_s: float | None = None
        """When the first byte of the present message arrived; None between two messages."""
        self._arrived_ns = 0
        """The same by `now_ns`."""
        self._received = 0
        self._buffers = self._messages()
        self._left = next(self._buffers)

    @property
    def begun(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._begun_s is not None

    def late(self, now_s: float) -> bool:
        """Whether the present message takes too long."""
        return self._begun_s is not None and now_s - self._begun_s > MESSAGE_S

    @property
    def progress(self) -> str:
        """What there is of the present message, for a person."""
        return f"message: got {self._received} bytes, expected {self._received + len(self._left)} or more"

    def receive(self) -> bool:
        """Receive what there is; whether the connection has ended. Errors: `OSError`, `WireError`."""
        for _ in range(_RECEIVES):
            try:
                count = self.connection.recv_into(self._left)
            except (BlockingIOError, InterruptedError):
                return False
            if count == 0:
                return True
            # the sender keeps the last, short packet of a frame back until those before it are acknowledged
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            self.heard_s = time.monotonic()
            if self._begun_s is None:
                self._begun_s, self._arrived_ns = self.heard_s, now_ns()
            self._received += count
            self._left = self._left[count:]
            while not self._left:
                self._left = next(self._buffers)
        return False

    def _messages(self) -> Generator[memoryview, None, None]:
        """Buffers, each to be filled before the next is asked for, without end. Errors: `WireError`."""
        while True:
            prefix = bytearray(PREFIX_BYTES)
            yield memoryview(prefix)
            header_bytes, samples_bytes = read_prefix(prefix)
            header = memoryview(bytearray(header_bytes))
            yield header
            samples = np.empty(samples_bytes, np.uint8).data  # memory that is not touched is not used
            yield samples
            self._relay.take(header, samples, self._arrived_ns)
            self._begun_s, self._received = None, 0
