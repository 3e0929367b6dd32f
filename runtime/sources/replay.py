"""Publishes RF frames at a steady rate, as a scanner would, from a recording or a simulation.

Invariant: frame k is due at start + k / rate; delays do not accumulate, and no burst is sent to catch up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Literal

import zmq

from usert.errors import expect
from usert.frame import RFFrame

from ..protocol.age import clock_id, now_ns
from ..protocol.rf_message import RFMessage
from ..transport.access import Authenticator
from ..transport.address import check_endpoint
from ..transport.keys import Keys
from ..transport.lifecycle import POLL_MS, Service
from ..transport.socket import make_socket

Frames = Callable[[], Iterable[RFFrame]]
"""A function that starts one pass over the frames of a source."""

SenderType = Literal["pub", "push"]
_QUEUE_FRAMES = 2
_LINGER_MS = 1000
_SUBSCRIPTION_BYTES = 1024
_SUBSCRIPTIONS_A_FRAME = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig:
    """Destination and rate of the frames."""

    endpoint: str
    socket_type: SenderType = "pub"
    bind: bool = True
    rate_hz: float = 30.0
    count: int | None = None
    """Number of frames to send; None: until the source ends."""
    loop: bool = False
    """Whether to start again at the end; sequence numbers restart too, so that no pair spans the jump."""
    stream: str = "replay"
    keys: Keys | None = None
    """Server keys if the socket binds, client keys if it connects."""
    insecure: bool = False
    """Whether endpoints on other machines may be used without keys."""

    def __post_init__(self) -> None:
        check_endpoint(self.endpoint, insecure=self.insecure, keyed=self.keys is not None)
        expect(self.socket_type in ("pub", "push"), "socket type", f"{self.socket_type!r}", "'pub' or 'push'")
        expect(0 < self.rate_hz <= 10_000, "rate", f"{self.rate_hz:g} Hz", "more than 0, at most 10000")
        expect(self.count is None or self.count >= 1, "count", self.count, "1 or more")


class Replay(Service):
    """Sends frames from when the first receiver connects: `with Replay(frames, config) as replay: replay.run()`."""

    def __init__(self, frames: Frames, config: ReplayConfig) -> None:
        super().__init__()
        self._frames = frames
        self._config = config
        self.sent = 0
        """Frames sent so far."""
        self.late = 0
        """Frames sent a whole period or more after they were due."""
        self._first_ns = self._last_ns = 0

    def _open(self, stack: ExitStack) -> None:
        context = stack.enter_context(zmq.Context())
        # XPUB is PUB that also says when somebody subscribes.
        kind = zmq.XPUB if self._config.socket_type == "pub" else zmq.PUSH
        authenticator = stack.enter_context(Authenticator(context, rf=self._config.keys))
        self._socket = stack.enter_context(
            make_socket(
                context,
                kind,
                self._config.endpoint,
                bind=self._config.bind,
                security=authenticator.security("rf"),
                options={
                    zmq.LINGER: _LINGER_MS,
                    zmq.SNDHWM: _QUEUE_FRAMES,
                    zmq.MAXMSGSIZE: _SUBSCRIPTION_BYTES,
                    zmq.IMMEDIATE: 1,
                },
            )
        )
        self.endpoint = self._socket.endpoint

    def run(self) -> None:
        """Send until the frames end, `count` is reached or `stop()` is called."""
        with self._loop():
            if not self._wait_for(zmq.POLLIN if self._config.socket_type == "pub" else zmq.POLLOUT):
                return  # stopped before a receiver came
            due_ns = now_ns()
            while not self.stopping:
                before = self.sent
                for sequence, frame in enumerate(self._frames()):
                    if not (self._wait_until(due_ns) and self._wait_for(zmq.POLLOUT)):
                        return
                    self._send(frame, sequence)
                    if self.sent == self._config.count:
                        return
                    due_ns = self._next_due(due_ns)
                if not self._config.loop or self.sent == before:
                    return

    @property
    def mean_rate_hz(self) -> float:
        """Frames a second from the first to the last."""
        span_ns = self._last_ns - self._first_ns
        return (self.sent - 1) * 1e9 / span_ns if span_ns else 0.0

    def _send(self, frame: RFFrame, sequence: int) -> None:
        sent_ns = now_ns()
        stamped = replace(frame, sequence=sequence, time_ns=sent_ns, acquired_ns=time.time_ns())
        message = RFMessage(frame=stamped, stream=self._config.stream, clock=clock_id())
        self._socket.socket.send_multipart(message.to_parts(), copy=False)
        self._first_ns = self._first_ns if self.sent else sent_ns
        self._last_ns = sent_ns
        self.sent += 1
        if self._config.socket_type == "pub":
            self._forget_subscriptions()

    def _next_due(self, due_ns: int) -> int:
        """When the next frame is due: one period after this one was, or after it was sent if a period late."""
        period_ns = round(1e9 / self._config.rate_hz)
        if self._last_ns - due_ns < period_ns:
            return due_ns + period_ns
        self.late += 1
        return self._last_ns + period_ns

    def _wait_for(self, event: int) -> bool:
        """Wait until the socket is ready; False once stopped."""
        while not self.stopping:
            self._socket.renew()
            if self._socket.socket.poll(POLL_MS, event):
                return True
        return False

    def _wait_until(self, due_ns: int) -> bool:
        while not self.stopping:
            left_s = (due_ns - now_ns()) / 1e9
            if left_s <= 0:
                return True
            time.sleep(min(left_s, POLL_MS / 1e3))
        return False

    def _forget_subscriptions(self) -> None:
        """Read a few subscription messages, which would accumulate otherwise; only a few, so that sending goes on."""
        for _ in range(_SUBSCRIPTIONS_A_FRAME):
            if not self._socket.socket.poll(0, zmq.POLLIN):
                return
            self._socket.socket.recv()
