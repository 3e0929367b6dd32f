"""The scanner of a benchmark over sockets: a process that sends frames when they are due, stamped with their due time.

Unlike `Replay` it catches up: a frame that ZeroMQ could not take is sent late, stamped with the time at which it was
due, and those behind it follow at once. So the age of an image includes all waiting.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection

from usert.errors import EngineError
from usert.frame import RFFrame

from ..clients.frame_sender import FrameSender
from ..protocol.age import now_ns
from ..transport.lifecycle import POLL_MS
from .process import PipedProcess

_STREAM = "bench"
_START_S = 60.0


class Scanner(PipedProcess):
    """Sends frames from a process of its own: `with Scanner(endpoint, frames) as scanner: scanner.send(100, 20.0)`."""

    def __init__(self, endpoint: str, frames: Sequence[RFFrame]) -> None:
        """`endpoint`: where the server has bound its PULL socket. `frames`: one period of an endless stream."""
        super().__init__("simulated scanner", _main, endpoint, tuple(frames))
        self.sent = 0
        """Frames that ZeroMQ took, of all finished batches."""

    def _open(self, stack: ExitStack) -> None:
        super()._open(stack)
        self._waiting = True
        if not self.done(_START_S):
            raise EngineError(f"simulated scanner: got no answer of its process in {_START_S:g} s")

    def send(self, frames: int, rate_hz: float) -> None:
        """Send `frames` frames at `rate_hz`, in the background; one batch at a time."""
        self._send((frames, rate_hz))
        self._waiting = True

    def skip_rest(self) -> None:
        """Skip the rest of the batch."""
        if self._waiting:
            self._send(None)

    def done(self, timeout_s: float = 0.0) -> bool:
        """Whether the batch was sent, after waiting at most `timeout_s`.

        Errors: `EngineError` when the process died.
        """
        if self._waiting and self._pipe.poll(timeout_s):
            self.sent = self._receive()
            self._waiting = False
        return not self._waiting


def _main(pipe: Connection, endpoint: str, frames: tuple[RFFrame, ...]) -> None:
    sent = 0
    with FrameSender(endpoint, stream=_STREAM, socket_type="push", bind=False) as sender:
        try:
            pipe.send(sent)
            while True:
                batch = pipe.recv()
                if batch is not None:
                    count, rate_hz = batch
                    sent = _send_batch(count, rate_hz, pipe, sender, frames, sent)
                    pipe.send(sent)
        except (EOFError, OSError):
            return


def _send_batch(
    count: int,
    rate_hz: float,
    pipe: Connection,
    sender: FrameSender,
    frames: tuple[RFFrame, ...],
    sent: int,
) -> int:
    """Send `count` frames until it is done or stopped; returns the number of frames sent in all."""
    period_ns = round(1e9 / rate_hz)
    begin = now_ns() + period_ns
    for k in range(count):
        due = begin + k * period_ns
        while (left_ns := due - now_ns()) > 0:
            if pipe.poll(max(left_ns / 1e9 - 1e-3, 0)):
                return sent
            time.sleep(max(min(due - now_ns(), 1_000_000), 0) / 1e9)
        while not sender.wait_for_receiver(POLL_MS / 1e3):
            if pipe.poll():
                return sent
        frame = frames[sent % len(frames)]
        sender.send(frame.samples, frame.scan, sequence=sent, time_ns=due, copy=False)
        sent += 1
    return sent
