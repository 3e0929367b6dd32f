"""A receiver of a sender's messages for some seconds, as a server would have it, that checks instead of showing.

Invariant: what is done with a message in the receiving thread takes less time than a frame of a scanner.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import zmq

from usert.errors import WireError, expect
from usert.runtime.protocol.header import Buffer
from usert.runtime.protocol.rf_message import MAX_RF_BYTES
from usert.runtime.transport.access import Authenticator
from usert.runtime.transport.address import check_endpoint
from usert.runtime.transport.keys import Keys
from usert.runtime.transport.lifecycle import POLL_MS, Service
from usert.runtime.transport.receiver import Receiver, ReceiverType

from .check import Report
from .sender_check import SenderCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenConfig:
    """Where a sender is, and how long it is listened to: until `messages` have come, or `seconds` are over."""

    rf: str
    rf_type: ReceiverType = "sub"
    rf_bind: bool = False
    seconds: float = 10.0
    messages: int = 200
    keys: Keys | None = None
    """Server keys if the socket binds, client keys if it connects."""
    insecure: bool = False

    def __post_init__(self) -> None:
        check_endpoint(self.rf, insecure=self.insecure, keyed=self.keys is not None)
        expect(self.rf_type in ("sub", "pull"), "--rf-type", f"{self.rf_type!r}", "sub or pull")
        expect(0 < self.seconds <= 3600, "--seconds", f"{self.seconds:g}", "more than 0, at most 3600")
        expect(2 <= self.messages <= 100_000, "--frames", self.messages, "2 to 100000")


class SenderListener(Service):
    """Listens to a sender and checks what it sends: `with SenderListener(config) as listener: report = listener.run()`.

    Errors: `OptionError` for an endpoint or keys that cannot be used.
    """

    def __init__(self, config: ListenConfig) -> None:
        super().__init__()
        self._config = config
        self._check = SenderCheck()
        self._done = threading.Event()
        self._taking = threading.Lock()

    def _open(self, stack: ExitStack) -> None:
        config = self._config
        context = stack.enter_context(zmq.Context())
        authenticator = stack.enter_context(Authenticator(context, rf=config.keys))
        self._receiver: Receiver[Sequence[Buffer]] = Receiver(
            context=context,
            endpoint=config.rf,
            socket_type=config.rf_type,
            bind=config.rf_bind,
            max_bytes=MAX_RF_BYTES,
            decode=lambda parts: parts,
            accept=self._accept,
            security=authenticator.security("rf"),
        )
        stack.enter_context(self._receiver)
        self.endpoint = self._receiver.endpoint

    def run(self) -> Report:
        """Listen until enough messages have come, the time is over, or `stop()` is called; what was found.

        Errors: `WireError` where not one message came.
        """
        with self._loop():
            begun = time.monotonic()
            deadline = begun + self._config.seconds
            while not self.stopping and time.monotonic() < deadline and not self._done.wait(POLL_MS / 1e3):
                self._receiver.check()
            with self._taking:
                self._done.set()
            if self._check.messages == 0:
                seconds = min(time.monotonic() - begun, self._config.seconds)
                raise WireError(_silence(self._config, self.endpoint, self._receiver.connected, seconds))
            return self._check.report(self.endpoint)

    def _accept(self, parts: Sequence[Buffer], arrived_ns: int) -> None:
        with self._taking:
            if not self._done.is_set():
                self._check.take(parts, arrived_ns)
                if self._check.messages >= self._config.messages:
                    self._done.set()


def _silence(config: ListenConfig, endpoint: str, connected: bool, seconds: float) -> str:
    """Why nothing came in so many seconds, as far as can be told."""
    theirs = "PUB" if config.rf_type == "sub" else "PUSH"
    if config.rf_bind:
        remedy = f"is a {theirs} socket connected to it, and sending?"
    elif connected:
        remedy = (
            "a socket is there and sends nothing: is the scanner running, not frozen, and is `send` called?"
        )
    else:
        remedy = (
            f"no {theirs} socket answers there: is the sender started, and bound to this address; is it of another "
            "type (--rf-type pull for PUSH); does only one side have keys; does it connect (--rf-bind)?"
        )
    return f"{endpoint}: got no message in {seconds:.3g} s, expected frames: {remedy}"
