"""Publishes RF frames at a steady rate, as a scanner would, from a recording or a simulation.

Invariant: frame k is due at start + k / rate; delays do not accumulate, and no burst is sent to catch up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass

from usert.errors import expect
from usert.frame import RFFrame

from ..clients.frame_sender import FrameSender, SenderType
from ..protocol.age import now_ns
from ..transport.keys import Keys
from ..transport.lifecycle import POLL_MS, Service

Frames = Callable[[], Iterable[RFFrame]]
"""A function that starts one pass over the frames of a source."""


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
        expect(0 < self.rate_hz <= 10_000, "rate", f"{self.rate_hz:g} Hz", "more than 0, at most 10000")
        expect(self.count is None or self.count >= 1, "count", self.count, "1 or more")


class Replay(Service):
    """Sends frames from when the first receiver connects: `with Replay(frames, config) as replay: replay.run()`."""

    _sender_kind: type[FrameSender] = FrameSender

    def __init__(self, frames: Frames, config: ReplayConfig) -> None:
        """Errors: `OptionError` for an endpoint that other machines can reach without keys, unless `insecure`."""
        super().__init__()
        self._frames = frames
        self._config = config
        self._sender = self._make_sender(config.endpoint)
        self.sent = 0
        """Frames sent so far."""
        self.late = 0
        """Frames sent a whole period or more after they were due."""
        self._first_ns = self._last_ns = 0

    def _make_sender(self, endpoint: str) -> FrameSender:
        config = self._config
        return self._sender_kind(
            endpoint,
            stream=config.stream,
            socket_type=config.socket_type,
            bind=config.bind,
            keys=config.keys,
            insecure=config.insecure,
        )

    def _open(self, stack: ExitStack) -> None:
        self._sender.open()
        stack.callback(lambda: self._sender.close())
        self.endpoint = self._sender.endpoint

    def run(self) -> None:
        """Send until the frames end, `count` is reached or `stop()` is called."""
        with self._loop():
            if not self._wait_for_receiver():
                return  # stopped before a receiver came
            due_ns = now_ns()
            while not self.stopping:
                before = self.sent
                for sequence, frame in enumerate(self._frames()):
                    if not self._wait_until(due_ns):
                        return
                    if self._config.socket_type == "push" and not self._wait_for_receiver():
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
        self._put(frame, sequence, sent_ns)
        self._first_ns = self._first_ns if self.sent else sent_ns
        self._last_ns = sent_ns
        self.sent += 1

    def _put(self, frame: RFFrame, sequence: int, time_ns: int) -> None:
        self._sender.send(frame.samples, frame.scan, sequence=sequence, time_ns=time_ns, copy=False)

    def _next_due(self, due_ns: int) -> int:
        """When the next frame is due: one period after this one was, or after it was sent if a period late."""
        period_ns = round(1e9 / self._config.rate_hz)
        if self._last_ns - due_ns < period_ns:
            return due_ns + period_ns
        self.late += 1
        return self._last_ns + period_ns

    def _wait_for_receiver(self) -> bool:
        """Wait until the next frame has a receiver; False once stopped."""
        while not self.stopping:
            if self._sender.wait_for_receiver(POLL_MS / 1e3):
                return True
        return False

    def _wait_until(self, due_ns: int) -> bool:
        while not self.stopping:
            left_s = (due_ns - now_ns()) / 1e9
            if left_s <= 0:
                return True
            time.sleep(min(left_s, POLL_MS / 1e3))
        return False
