"""A scanner as a process: it sends RF frames at a rate, takes orders, and counts what it sent.

Knows the protocol, not the server. Invariant: `Sent.frames` are those that ZeroMQ took, numbered from 0
without a gap; a frame is stamped when ZeroMQ can take it, and none is sent in a burst to catch up.
"""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import zmq

from usert.frame import RFFrame, Scan
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.rf_message import RFMessage

SCAN = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540, line_pitch_mm=0.12)
_QUEUE_FRAMES = 2
_LINGER_MS = 2000
_POLL_MS = 20
_ANSWER_S = 120.0
_STEEP = 6, 14
"""Frames of the press whose motion from one to the next is plain."""


FrameKind = Literal["hand", "press", "noise"]
"""One press and release of the simulated hand; its steepest part to and fro, so that every frame moves; noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What the scanner does from now on."""

    rate_hz: float = 0.0
    """0: nothing."""
    count: int | None = None
    """Frames until it rests."""
    shape: tuple[int, int] = (512, 128)
    jump_ns: int = 0
    """Added to its clock, and to the wall's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The scanner's books."""

    frames: int
    late: int
    """Sent a period or more after they were due: the machine or the receiver was too slow."""
    last: int
    """Sequence number of the last frame; -1 before the first."""
    resting: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    endpoint: str
    kind: Literal["push", "pub"] = "push"
    bind: bool = False
    shapes: tuple[tuple[int, int], ...] = ((512, 128),)
    frames: FrameKind = "hand"
    stream: str = "benchmark"


class SourceProcess:
    """`with SourceProcess(config) as source: source.order(rate_hz=20)`; `kill()` is that of the process."""

    def __init__(self, config: SourceConfig) -> None:
        self._config = config
        self._orders = Orders(shape=config.shapes[0])

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_main, args=(theirs, self._config), daemon=True)
        self._process.start()
        theirs.close()
        self.endpoint: str = self._answer()
        """Where it is bound or connected."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()  # its order to end
        self._process.join(2 * _LINGER_MS / 1e3)
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def order(self, **changes: Any) -> Sent:
        """Change some `Orders`, the others stay; `count` counts from here. Returns what was sent until now."""
        self._orders = replace(self._orders, **({"count": None} | changes))
        self._pipe.send(self._orders)
        sent: Sent = self._answer()
        return sent

    def rest(self) -> Sent:
        """Send nothing more."""
        return self.order(rate_hz=0.0)

    @property
    def sent(self) -> Sent:
        self._pipe.send(None)
        sent: Sent = self._answer()
        return sent

    def wait(self, timeout_s: float) -> Sent:
        """Until it rests after `count` frames."""
        deadline = time.monotonic() + timeout_s
        while not (sent := self.sent).resting:
            if time.monotonic() > deadline:
                raise AssertionError(f"source: got {sent} after {timeout_s:g} s, expected it to rest")
            time.sleep(0.05)
        return sent

    def kill(self) -> None:
        """`kill -9`; idempotent."""
        self._process.kill()
        self._process.join()

    def _answer(self) -> Any:
        if not self._pipe.poll(_ANSWER_S):
            raise AssertionError("source: no answer")
        return self._pipe.recv()


def _main(pipe: Connection, config: SourceConfig) -> None:
    frames = {shape: period(config.frames, shape) for shape in config.shapes}
    with zmq.Context() as context, context.socket(zmq.PUSH if config.kind == "push" else zmq.PUB) as socket:
        socket.linger, socket.sndhwm, socket.immediate = _LINGER_MS, _QUEUE_FRAMES, 1
        (socket.bind if config.bind else socket.connect)(config.endpoint)
        pipe.send(socket.get_string(zmq.LAST_ENDPOINT))
        orders = Orders(shape=config.shapes[0])
        sent, late, left, due_s = 0, 0, 0, 0.0
        while True:
            resting = orders.rate_hz == 0 or left == 0
            wait_s = 1.0 if resting else min(max(due_s - time.monotonic(), 0.0), 1.0)
            if pipe.poll(wait_s):
                try:
                    order = pipe.recv()
                except EOFError:
                    return
                if order is not None:
                    orders, due_s = order, time.monotonic()
                    left = -1 if orders.count is None else orders.count
                resting = orders.rate_hz == 0 or left == 0
                pipe.send(Sent(frames=sent, late=late, last=sent - 1, resting=resting))
            elif not resting and time.monotonic() >= due_s and socket.poll(_POLL_MS, zmq.POLLOUT):
                some = frames[orders.shape]
                frame = replace(
                    some[sent % len(some)],
                    sequence=sent,
                    time_ns=time.monotonic_ns() + orders.jump_ns,
                    acquired_ns=time.time_ns() + orders.jump_ns,
                )
                message = RFMessage(frame=frame, stream=config.stream, clock=clock_id())
                socket.send_multipart(message.to_parts(), copy=False)
                sent, left = sent + 1, left - 1
                period_s, now_s = 1 / orders.rate_hz, time.monotonic()
                late += now_s - due_s >= period_s
                due_s = period_s + (due_s if now_s - due_s < period_s else now_s)


def period(kind: FrameKind, shape: tuple[int, int]) -> list[RFFrame]:
    """One period of them."""
    if kind != "noise":
        scanner = SimulatedScanner(ScannerConfig(shape=shape, scan=SCAN), seed=1)
        steep = (*range(_STEEP[0], _STEEP[1]), *range(_STEEP[1], _STEEP[0], -1))
        return [scanner.frame(k) for k in (steep if kind == "press" else range(scanner.period_frames))]
    noise = np.random.default_rng(0)
    samples = [noise.integers(-1000, 1000, shape).astype(np.int16) for _ in range(4)]
    return [RFFrame(samples=some, scan=SCAN) for some in samples]
