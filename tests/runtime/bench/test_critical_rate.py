"""The critical rate of a server whose speed is known, in simulated time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from usert.errors import EngineError
from usert.runtime.bench.critical_rate import (
    LEAST_CONFIRMED_FRAMES,
    CriticalRate,
    CriticalSearch,
    is_held,
    late_share,
)
from usert.runtime.bench.monitor_client import SilentError
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


class Failing(Server):
    """A server whose measurements fail with what `fault` returns for their number, if anything."""

    def __init__(self, fault: Callable[[int], EngineError | None]) -> None:
        super().__init__(20.0)
        self._fault = fault

    def measure(self, workload: Workload) -> Measurement:
        if (error := self._fault(len(self.workloads))) is not None:
            self.workloads.append(workload)
            raise error
        return super().measure(workload)


def search(server: Server) -> tuple[CriticalRate, list[str]]:
    trials = CriticalSearch(server, Workload(seconds=1.0), trials=30, limit_ms=None, hold_s=4.0)
    lines = []
    while not trials.decided:
        lines.append(trials.trial())
    return trials.confirm(), lines


def test_a_run_in_which_no_images_come_is_tried_again() -> None:
    server = Failing(lambda number: SilentError("no image for 10 s") if number in (0, 3) else None)
    found, lines = search(server)
    assert found.held
    assert found.fault is None
    assert server.workloads[0] == server.workloads[1]
    assert server.workloads[3] == server.workloads[4]
    assert not any("no image" in line for line in lines)


def test_a_rate_at_which_no_images_come_twice_is_not_held() -> None:
    server = Failing(lambda number: SilentError("no image for 10 s") if number in (0, 1) else None)
    found, lines = search(server)
    assert found.held
    assert lines[0].endswith(" frames/s: not held, twice: no image for 10 s")
    silent, _ = search(Failing(lambda number: SilentError("no image for 10 s")))
    assert not silent.held
    assert silent.run is None
    assert silent.fault == "no image for 10 s"


def test_a_server_that_ends_ends_the_search_with_what_is_known_by_then() -> None:
    server = Failing(lambda number: EngineError("exit code -9") if number == 5 else None)
    found, lines = search(server)
    assert lines[-1].endswith(" frames/s: the search ends: exit code -9")
    assert (found.held, found.run, found.fault) == (False, None, "exit code -9")
    assert found.threshold.trials == 5
    assert found.threshold.low_hz is None or found.threshold.low_hz < 50
    assert len(server.workloads) == 6


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
