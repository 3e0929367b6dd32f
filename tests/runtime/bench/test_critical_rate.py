"""The critical rate of a server whose speed is known, in simulated time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from usert.runtime.bench.critical_rate import (
    LEAST_CONFIRMED_FRAMES,
    CriticalRate,
    CriticalSearch,
    is_held,
    late_share,
)
from usert.runtime.bench.worker import Opened
from usert.runtime.bench.workload import Measurement, Workload, run_workload
from usert.runtime.imaging.estimate import Estimate

NOTHING = Estimate(displacement=np.zeros((2, 1, 1)), strain=np.zeros((1, 1)), quality=np.zeros((1, 1)))
RUN = Measurement(lead_ms=1.0, latency_ms=(10.0,) * 99 + (30.0,), engine_ms=(9.0,) * 100, seconds=1.0)


class Server:
    """A server that takes `engine_ms` for a pair, and `tired_ms` in long runs."""

    def __init__(self, engine_ms: float = 20.0, tired_ms: float | None = None) -> None:
        self.opened = Opened(runs_on="nothing", warm_up_s=0.0, first_ms=engine_ms, answer=NOTHING)
        self._engine_ms = engine_ms
        self._tired_ms = tired_ms or engine_ms
        self._now_ns = 0
        self.workloads: list[Workload] = []

    def measure(self, workload: Workload) -> Measurement:
        self.workloads.append(workload)
        ms = self._engine_ms if workload.frames < LEAST_CONFIRMED_FRAMES else self._tired_ms
        run = run_workload(
            lambda: self._pass(ms / 1e3), workload, clock_ns=lambda: self._now_ns, sleep=self._pass
        )
        return replace(run, missing=run.dropped)

    def _pass(self, seconds: float) -> None:
        self._now_ns += round(1e9 * seconds)


def critical(server: Server, *, limit_ms: float | None = None, every_frame: bool = False) -> CriticalRate:
    workload = Workload(seconds=1.0, every_frame=every_frame)
    search = CriticalSearch(server, workload, trials=30, limit_ms=limit_ms, hold_s=4.0)
    while not search.decided:
        search.trial()
    return search.confirm()


@pytest.mark.parametrize("every_frame", [False, True])
@pytest.mark.parametrize("engine_ms", [2.0, 20.0, 500.0])
def test_it_is_the_rate_at_which_the_engine_is_always_busy(engine_ms: float, every_frame: bool) -> None:
    server = Server(engine_ms)
    found = critical(server, every_frame=every_frame)
    busy_hz = 1e3 / engine_ms
    assert found.held
    assert 0.85 * busy_hz < found.rate_hz < 1.03 * busy_hz
    assert found.limit_ms == pytest.approx(2e3 / found.rate_hz)
    assert found.run is not None
    assert found.run.latency_ms == pytest.approx([engine_ms] * len(found.run.latency_ms), rel=0.5)
    assert server.workloads[-1].every_frame == every_frame


def test_a_limit_below_the_engines_time_is_held_at_no_rate() -> None:
    found = critical(Server(20.0), limit_ms=19.0)
    assert not found.held
    assert found.run is None
    assert found.limit_ms == 19.0
    assert found.threshold.low_hz is None


def test_a_server_that_tires_is_confirmed_at_a_lower_rate_or_not_at_all() -> None:
    found = critical(Server(20.0, tired_ms=23.0))
    assert found.held
    assert found.rate_hz < 1e3 / 23.0 < (found.threshold.low_hz or 0)
    failed = critical(Server(20.0, tired_ms=40.0))
    assert not failed.held
    assert failed.run is not None
    assert failed.run.missing > 0


class Stalling(Server):
    """A server that stalls `every` seconds for 100 frame times, which trials of a second mostly miss; runs are stopped
    as `LiveServer` stops them."""

    def __init__(self, every_s: float, stops: int) -> None:
        super().__init__(20.0)
        self.every_s, self.stops = every_s, stops
        self.confirmed: list[tuple[float, float]] = []

    def measure(self, workload: Workload) -> Measurement:
        if workload.most_late is None:
            return super().measure(workload)
        assert workload.limit_ms is not None
        assert workload.rate_hz is not None
        stalled = len(self.confirmed) < self.stops
        seconds = min(self.every_s, workload.seconds) if stalled else workload.seconds
        self._pass(seconds)
        self.confirmed.append((workload.rate_hz, seconds))
        return replace(RUN, seconds=seconds, waiting=1000 if stalled else 0, latency_ms=(20.0,) * 1000)


@pytest.mark.parametrize(("every_s", "stops"), [(50.0, 2), (590.0, 1), (300.0, 99), (0.0, 0)])
def test_a_long_confirmation_begins_lower_and_ends_in_time_whatever_happens(
    every_s: float, stops: int
) -> None:
    server = Stalling(every_s, stops)
    search = CriticalSearch(
        server,
        Workload(seconds=1.0),
        trials=30,
        limit_ms=None,
        hold_s=600.0,
        clock=lambda: server._now_ns / 1e9,
    )
    while not search.decided:
        search.trial()
    found = search.confirm()
    rates, lengths = zip(*server.confirmed, strict=True)
    assert rates[0] == pytest.approx(0.8 * (found.threshold.low_hz or 0))
    assert np.diff(rates).max(initial=-1) < 0
    assert sum(lengths) <= 1.1 * 600
    assert found.held == (stops < 99)
    assert found.run is not None
    if found.held:
        assert found.rate_hz == rates[-1]
        assert found.run.seconds == pytest.approx(lengths[-1])


def test_a_frame_without_an_image_is_a_late_one() -> None:
    assert late_share(RUN, 20.0) == pytest.approx(0.01)
    assert is_held(RUN, 20.0)
    assert not is_held(RUN, 9.0)
    assert not is_held(replace(RUN, missing=1), 20.0)
    assert not is_held(replace(RUN, waiting=1), 40.0)
    assert is_held(replace(RUN, missing=1), 40.0)
    growing = tuple(float(ms) for ms in range(100))
    assert not is_held(replace(RUN, latency_ms=growing), 1000.0), "a queue grows"


def test_memory_has_a_trend_where_it_was_read_often_enough() -> None:
    found = critical(Server())
    assert found.run is not None
    assert found.rss_mb_per_min is None
    rising = replace(found, run=replace(found.run, rss_mb=tuple(100 + second / 60 for second in range(30))))
    assert rising.rss_mb_per_min == pytest.approx(1.0)
