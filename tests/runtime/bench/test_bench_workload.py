"""Turns by a clock that moves when an engine runs or somebody sleeps, so that every time is known."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable

import pytest

from usert.runtime.bench.workload import OVERTIME, Measurement, Workload, run_workload

MS = 1_000_000
RATE_HZ, PERIOD_MS = 100.0, 10.0


class Clock:
    """Runs take the milliseconds listed, and the last of them for ever."""

    def __init__(self, runs_ms: Iterable[float]) -> None:
        self.now = 12_345 * MS
        self.slept_ms: list[float] = []
        self.runs = 0
        self._runs_ms = list(runs_ms)

    def run(self) -> None:
        self.now += round(self._runs_ms[min(self.runs, len(self._runs_ms) - 1)] * MS)
        self.runs += 1

    def sleep(self, seconds: float) -> None:
        self.slept_ms.append(1e3 * seconds)
        self.now += round(1e9 * seconds)

    def measurement(self, **workload: object) -> Measurement:
        return run_workload(self.run, Workload(**workload), clock_ns=lambda: self.now, sleep=self.sleep)  # type: ignore[arg-type]


def test_a_closed_loop_runs_one_after_the_other() -> None:
    measurement = Clock([50, 20]).measurement(seconds=0.15)
    assert measurement.lead_ms == 50
    assert measurement.latency_ms == measurement.engine_ms == (20.0,) * 5
    assert measurement.done == 6
    assert measurement.seconds == pytest.approx(0.1)
    assert not measurement.grows


def test_a_closed_loop_of_two_at_once_counts_the_runs_of_both() -> None:
    both, ran = threading.Barrier(2), itertools.count(1)

    def run() -> None:
        if next(ran) <= 2:
            both.wait(20)  # the first two run at once

    measurement = run_workload(run, Workload(seconds=0.05), at_once=2)
    assert measurement.done == next(ran) - 1
    assert len(measurement.engine_ms) == measurement.done - 1


def test_a_turn_has_three_runs_however_slow_the_engine() -> None:
    assert Clock([1000]).measurement(seconds=0.1).done == 3
    newest = Clock([1000]).measurement(seconds=0.1, rate_hz=RATE_HZ)
    assert newest.done == 3
    assert newest.dropped == 198


def test_an_engine_that_keeps_up_answers_every_frame_in_its_own_time() -> None:
    for every in (False, True):
        measurement = Clock([4]).measurement(seconds=0.2, rate_hz=RATE_HZ, every_frame=every)
        assert measurement.latency_ms == (4.0,) * 19
        assert (measurement.dropped, measurement.waiting, measurement.grows) == (0, 0, False)
        assert 19 / measurement.seconds == pytest.approx(RATE_HZ)


def test_newest_wins_drops_what_it_cannot_do_and_stays_young() -> None:
    measurement = Clock([30]).measurement(seconds=0.3, rate_hz=RATE_HZ)
    assert measurement.done == 11
    assert measurement.dropped == 20
    assert measurement.latency_ms == (30.0,) * 10
    assert not measurement.grows


def test_where_every_frame_is_wanted_each_waits_longer_than_the_one_before() -> None:
    measurement = Clock([15]).measurement(seconds=0.3, rate_hz=RATE_HZ, every_frame=True)
    assert measurement.dropped == measurement.waiting == 0
    assert measurement.latency_ms == tuple(15.0 + 5 * k for k in range(1, 30))
    assert measurement.engine_ms == (15.0,) * 29
    assert measurement.grows


def test_a_queue_that_grows_too_long_is_broken_off_and_what_waits_is_counted() -> None:
    measurement = Clock([100]).measurement(seconds=0.5, rate_hz=RATE_HZ, every_frame=True)
    assert measurement.grows
    assert measurement.done + measurement.waiting == 50
    assert measurement.done == 6, f"{OVERTIME} times half a second"


def test_one_slow_run_makes_the_frames_behind_it_late() -> None:
    measurement = Clock([4, 4, 44, 4]).measurement(seconds=0.2, rate_hz=RATE_HZ, every_frame=True)
    assert measurement.latency_ms[:8] == (4.0, 44.0, 38.0, 32.0, 26.0, 20.0, 14.0, 8.0)
    assert set(measurement.latency_ms[8:]) == {4.0}
    assert not measurement.grows, "it drains again"


def test_the_first_frame_after_a_pause_is_apart() -> None:
    clock = Clock([70, 4])
    measurement = clock.measurement(seconds=0.1, rate_hz=5.0, pause_s=2.0)
    assert clock.slept_ms[0] == 2000
    assert measurement.lead_ms == 70
    assert set(measurement.latency_ms) == {4.0}


def test_a_trend_needs_frames_enough() -> None:
    measurement = Measurement(
        lead_ms=1, latency_ms=tuple(map(float, range(7))), engine_ms=(0.1,) * 7, seconds=1
    )
    assert measurement.grown_ms == 0
    assert not measurement.grows
