"""A workload and its measurement: runs in a row, each when the last is done (closed loop) or when its frame is due.

Invariant: due times are fixed before the first run, and latency counts from the due time: an engine that is late makes
the frames behind it late too (no coordinated omission).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from ..protocol.age import now_ns

LEAST_RUNS = 3
"""Runs of a measurement, however short; the first is reported separately."""
_TREND_FRAMES = 8
"""With fewer frames no trend is reported."""
OVERTIME = 2
"""A measurement is stopped after this many times its length where every frame is to run and the engine is too slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The frames of a measurement and their timing."""

    seconds: float
    """Approximate length."""
    rate_hz: float | None = None
    """Frames a second; None: closed loop, the next run when the last is done."""
    every_frame: bool = False
    """Whether frames queue; otherwise the newest wins and older ones are dropped."""
    pause_s: float = 0.0
    """Idle time before the first frame."""
    limit_ms: float | None = None
    """Latency beyond which a frame is late; over sockets only."""
    most_late: int | None = None
    """The measurement is stopped once more frames than this are late or have no image; None: never."""

    @property
    def frames(self) -> int:
        """Number of frames where `rate_hz` is given."""
        return max(LEAST_RUNS, round((self.rate_hz or 0) * self.seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Latencies and counts of one run of a workload."""

    lead_ms: float
    """Latency of the first frame, which follows a pause or another variant's measurement and is in no percentile."""
    latency_ms: tuple[float, ...]
    """Time from due to done of each further frame that was not dropped."""
    engine_ms: tuple[float, ...]
    """The engine's part of each of these."""
    dropped: int = 0
    """Frames dropped for a newer one before the engine was free."""
    missing: int = 0
    """Frames from the first image to the last that have none, for whatever reason; over sockets only."""
    waiting: int = 0
    """Frames that were due and not started when the measurement was stopped."""
    seconds: float
    """From the end of the first run to the end of the last."""
    cpu_s: float | None = None
    """Processor time of the whole measurement; None where it cannot be read."""
    stages_ms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Parts of each latency, by name, in sequence."""
    rss_mb: tuple[float, ...] = ()
    """Resident memory of the server, read once a second; over sockets only."""
    followed: int | None = None
    """Of all frames that were run, those that started from the motion of one before; None where it is not known."""

    @property
    def done(self) -> int:
        """Number of frames that were run."""
        return len(self.latency_ms) + 1

    @property
    def grown_ms(self) -> float:
        """Rise of the median latency from the first to the last quarter; 0 where there are too few frames to tell."""
        if len(self.latency_ms) < _TREND_FRAMES:
            return 0.0
        quarter = len(self.latency_ms) // 4
        return float(np.median(self.latency_ms[-quarter:]) - np.median(self.latency_ms[:quarter]))

    @property
    def grows(self) -> bool:
        """Whether a queue grows: latency rose by more than one run of the engine, though nothing was dropped."""
        return self.waiting > 0 or (self.dropped == 0 and self.grown_ms > float(np.median(self.engine_ms)))


def run_workload(
    run: Callable[[], object],
    workload: Workload,
    *,
    at_once: int = 1,
    clock_ns: Callable[[], int] = now_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> Measurement:
    """Call `run` as `workload` says, in a closed loop by `at_once` threads at once, and measure."""
    if workload.pause_s:
        sleep(workload.pause_s)
    used_s = time.process_time()
    dropped = waiting = 0
    if workload.rate_hz is None:
        times = _closed(run, workload.seconds, clock_ns, at_once)
    else:
        times, dropped, waiting = _paced(run, workload, clock_ns, sleep)
    latency = [(end - due) / 1e6 for due, _, end in times]
    return Measurement(
        lead_ms=latency[0],
        latency_ms=tuple(latency[1:]),
        engine_ms=tuple((end - start) / 1e6 for _, start, end in times[1:]),
        dropped=dropped,
        waiting=waiting,
        seconds=(times[-1][2] - times[0][2]) / 1e9,
        cpu_s=time.process_time() - used_s,
    )


Times = list[tuple[int, int, int]]
"""Due, start and end of each frame that was run, in ns."""


def _closed(run: Callable[[], object], seconds: float, clock_ns: Callable[[], int], at_once: int) -> Times:
    """The times in the order of the ends."""
    times: Times = []
    until = clock_ns() + round(1e9 * seconds)

    def loop(_: int) -> None:
        while len(times) < LEAST_RUNS or clock_ns() < until:
            start = clock_ns()
            run()
            times.append((start, start, clock_ns()))

    if at_once == 1:
        loop(0)
    else:
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(loop, range(at_once)))
    return sorted(times, key=lambda each: each[2])


def _paced(
    run: Callable[[], object], workload: Workload, clock_ns: Callable[[], int], sleep: Callable[[float], None]
) -> tuple[Times, int, int]:
    """The times, the number of frames dropped, and the number still waiting at the end."""
    period_ns = round(1e9 / (workload.rate_hz or 1))
    begin = clock_ns() + period_ns
    times: Times = []
    at = dropped = 0
    while at < workload.frames or len(times) < LEAST_RUNS:
        late_ns = clock_ns() - (begin + at * period_ns)
        if late_ns < 0:
            sleep(-late_ns / 1e9)
            continue
        if workload.every_frame:
            if late_ns > (OVERTIME - 1) * workload.frames * period_ns and len(times) >= LEAST_RUNS:
                return times, dropped, min(at + late_ns // period_ns + 1, workload.frames) - at
        else:
            dropped += late_ns // period_ns
            at += late_ns // period_ns
        start = clock_ns()
        run()
        times.append((begin + at * period_ns, start, clock_ns()))
        at += 1
    return times, dropped, 0
