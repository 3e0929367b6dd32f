"""One turn of a benchmark: runs in a row, the next when the last is done, or when its frame is due.

Knows a function to time and a clock; nothing of engines or sockets. Invariant: when a frame is due is fixed before the
first one runs, and its latency counts from then: an engine that is late makes the frames behind it late, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..protocol.age import now_ns

LEAST_RUNS = 3
"""Of a turn, however short; the first of them is apart."""
_TREND_FRAMES = 8
"""Fewer show no trend."""
OVERTIME = 2
"""Times its length that a turn may take, where every frame is answered and the engine is too slow for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a turn is."""

    seconds: float
    """About."""
    rate_hz: float | None = None
    """Frames a second; None: closed loop, the next when the last is done."""
    every_frame: bool = False
    """Frames queue; otherwise the newest wins and those that it overtakes are dropped."""
    pause_s: float = 0.0
    """Idle, before the first frame."""

    @property
    def frames(self) -> int:
        """Of a paced turn."""
        return max(LEAST_RUNS, round((self.rate_hz or 0) * self.seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What was seen in one."""

    lead_ms: float
    """Latency of the first frame, which is not among the others: before it there was a pause, or another's turn."""
    latency_ms: tuple[float, ...]
    """From when a frame was due to its answer, of those that were not dropped."""
    engine_ms: tuple[float, ...]
    """That the engine took of it."""
    dropped: int = 0
    """Overtaken by a newer one before the engine was free."""
    waiting: int = 0
    """Due, and not begun when the turn was broken off."""
    seconds: float
    """From the answer to the first to that to the last."""
    cpu_s: float | None = None
    """Of the processor, for all of the turn; None: cannot be read here."""
    stages_ms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Parts of the latency, by name, in their order."""

    @property
    def done(self) -> int:
        """Frames answered."""
        return len(self.latency_ms) + 1

    @property
    def grown_ms(self) -> float:
        """By how much latency rose from the first quarter of the turn to the last; 0 where it is too short to tell."""
        if len(self.latency_ms) < _TREND_FRAMES:
            return 0.0
        quarter = len(self.latency_ms) // 4
        return float(np.median(self.latency_ms[-quarter:]) - np.median(self.latency_ms[:quarter]))

    @property
    def grows(self) -> bool:
        """Whether a queue does: latency rose by more than an engine's time, though nothing was dropped."""
        return self.waiting > 0 or (self.dropped == 0 and self.grown_ms > float(np.median(self.engine_ms)))


def take_turn(
    run: Callable[[], object],
    order: Order,
    *,
    clock_ns: Callable[[], int] = now_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> Turn:
    """`run` again and again as `order` says."""
    if order.pause_s:
        sleep(order.pause_s)
    used_s = time.process_time()
    dropped = waiting = 0
    if order.rate_hz is None:
        times = _closed(run, order.seconds, clock_ns)
    else:
        times, dropped, waiting = _paced(run, order, clock_ns, sleep)
    latency = [(end - due) / 1e6 for due, _, end in times]
    return Turn(
        lead_ms=latency[0],
        latency_ms=tuple(latency[1:]),
        engine_ms=tuple((end - start) / 1e6 for _, start, end in times[1:]),
        dropped=dropped,
        waiting=waiting,
        seconds=(times[-1][2] - times[0][2]) / 1e9,
        cpu_s=time.process_time() - used_s,
    )


Times = list[tuple[int, int, int]]
"""Of each frame answered: due, started, ended."""


def _closed(run: Callable[[], object], seconds: float, clock_ns: Callable[[], int]) -> Times:
    times: Times = []
    until = clock_ns() + round(1e9 * seconds)
    while len(times) < LEAST_RUNS or clock_ns() < until:
        start = clock_ns()
        run()
        times.append((start, start, clock_ns()))
    return times


def _paced(
    run: Callable[[], object], order: Order, clock_ns: Callable[[], int], sleep: Callable[[float], None]
) -> tuple[Times, int, int]:
    """What was answered, how many were dropped, and how many still waited."""
    period_ns = round(1e9 / (order.rate_hz or 1))
    begin = clock_ns() + period_ns
    times: Times = []
    at = dropped = 0
    while at < order.frames or len(times) < LEAST_RUNS:
        late_ns = clock_ns() - (begin + at * period_ns)
        if late_ns < 0:
            sleep(-late_ns / 1e9)
            continue
        if order.every_frame:
            if late_ns > (OVERTIME - 1) * order.frames * period_ns and len(times) >= LEAST_RUNS:
                return times, dropped, min(at + late_ns // period_ns + 1, order.frames) - at
        else:
            dropped += late_ns // period_ns
            at += late_ns // period_ns
        start = clock_ns()
        run()
        times.append((begin + at * period_ns, start, clock_ns()))
        at += 1
    return times, dropped, 0
