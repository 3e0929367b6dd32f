"""The scanner of a benchmark over sockets: a process that sends frames when they are due, and says so in their stamps.

Unlike `Replay` it makes up for lost time: a frame that ZeroMQ could not take is sent late, with the time at which it
was due, and those behind it follow at once. So an image's age holds all of the waiting. Knows the protocol, not the
server. Invariant: due times are fixed when an order comes; and the process is gone at the end of the `with` block.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

import zmq

from usert.errors import EngineError
from usert.frame import RFFrame

from ..protocol.age import clock_id, now_ns
from ..protocol.rf_message import RFMessage
from ..transport.lifecycle import POLL_MS

_QUEUE_FRAMES = 2
_START_S = 60.0
_ENDING_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    frames: int
    rate_hz: float


class Scanner:
    """`with Scanner(endpoint, frames) as scanner: scanner.order(100, 20.0)`; PUSH to a server that pulls there."""

    def __init__(self, endpoint: str, frames: Sequence[RFFrame], *, stream: str = "bench") -> None:
        """`frames`: one period of an endless stream."""
        self._arguments = endpoint, tuple(frames), stream
        self.sent = 0
        """Frames that ZeroMQ took, of the orders that are done."""

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        with ExitStack() as stack:
            self._pipe, theirs = context.Pipe()
            stack.callback(self._pipe.close)
            self._process = context.Process(target=_main, args=(theirs, *self._arguments), daemon=True)
            self._process.start()
            stack.callback(self._end)
            theirs.close()
            self._waiting = True
            if not self.done(_START_S):
                raise EngineError(f"simulated scanner: got no answer of its process in {_START_S:g} s")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def order(self, frames: int, rate_hz: float) -> None:
        """Send so many; one order at a time."""
        self._tell(_Order(frames=frames, rate_hz=rate_hz))
        self._waiting = True

    def stop(self) -> None:
        """Leave the rest of the order."""
        if self._waiting:
            self._tell(None)

    def done(self, timeout_s: float = 0.0) -> bool:
        """Whether the order is, perhaps after a while. Errors: `EngineError` when the process has died."""
        try:
            if self._waiting and self._pipe.poll(timeout_s):
                self.sent = self._pipe.recv()
                self._waiting = False
        except (EOFError, OSError):
            self._raise_death()
        return not self._waiting

    def _tell(self, order: _Order | None) -> None:
        try:
            self._pipe.send(order)
        except OSError:
            self._raise_death()

    def _raise_death(self) -> None:
        self._process.join(_ENDING_S)
        code = self._process.exitcode
        raise EngineError(
            f"simulated scanner: its process ended with exit code {code} after {self.sent} frames"
        )

    def _end(self) -> None:
        self._pipe.close()  # its order to end
        self._process.join(_ENDING_S)
        self._process.kill()
        self._process.join()


def _main(pipe: Connection, endpoint: str, frames: tuple[RFFrame, ...], stream: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever holds the other end
    sent = 0
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.linger, socket.sndhwm, socket.immediate = 0, _QUEUE_FRAMES, 1
        socket.connect(endpoint)
        try:
            pipe.send(sent)
            while True:
                order = pipe.recv()
                if order is not None:
                    sent = _carry_out(order, pipe, socket, frames, stream, sent)
                    pipe.send(sent)
        except (EOFError, OSError):
            return


def _carry_out(
    order: _Order,
    pipe: Connection,
    socket: zmq.Socket[bytes],
    frames: tuple[RFFrame, ...],
    stream: str,
    sent: int,
) -> int:
    """Frames sent in all, when the order is done or called off."""
    period_ns = round(1e9 / order.rate_hz)
    begin = now_ns() + period_ns
    for k in range(order.frames):
        due = begin + k * period_ns
        while (left_ns := due - now_ns()) > 0:
            if pipe.poll(max(left_ns / 1e9 - 1e-3, 0)):
                return sent
            time.sleep(max(min(due - now_ns(), 1_000_000), 0) / 1e9)
        while not socket.poll(POLL_MS, zmq.POLLOUT):
            if pipe.poll():
                return sent
        frame = replace(frames[sent % len(frames)], sequence=sent, time_ns=due, acquired_ns=time.time_ns())
        message = RFMessage(frame=frame, stream=stream, clock=clock_id())
        socket.send_multipart(message.to_parts(), copy=False)
        sent += 1
    return sent
