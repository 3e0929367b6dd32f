"""Turns by a clock that moves when an engine runs or somebody sleeps, so that every time is known."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from usert.runtime.bench.turn import OVERTIME, Order, Turn, take_turn

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

    def turn(self, **order: object) -> Turn:
        return take_turn(self.run, Order(**order), clock_ns=lambda: self.now, sleep=self.sleep)  # type: ignore[arg-type]


def test_a_closed_loop_runs_one_after_the_other() -> None:
    turn = Clock([50, 20]).turn(seconds=0.15)
    assert turn.lead_ms == 50
    assert turn.latency_ms == turn.engine_ms == (20.0,) * 5
    assert turn.done == 6
    assert turn.seconds == pytest.approx(0.1)
    assert not turn.grows


def test_a_turn_has_three_runs_however_slow_the_engine() -> None:
    assert Clock([1000]).turn(seconds=0.1).done == 3
    newest = Clock([1000]).turn(seconds=0.1, rate_hz=RATE_HZ)
    assert newest.done == 3
    assert newest.dropped == 198


def test_an_engine_that_keeps_up_answers_every_frame_in_its_own_time() -> None:
    for every in (False, True):
        turn = Clock([4]).turn(seconds=0.2, rate_hz=RATE_HZ, every_frame=every)
        assert turn.latency_ms == (4.0,) * 19
        assert (turn.dropped, turn.waiting, turn.grows) == (0, 0, False)
        assert 19 / turn.seconds == pytest.approx(RATE_HZ)


def test_newest_wins_drops_what_it_cannot_do_and_stays_young() -> None:
    turn = Clock([30]).turn(seconds=0.3, rate_hz=RATE_HZ)
    assert turn.done == 11
    assert turn.dropped == 20
    assert turn.latency_ms == (30.0,) * 10
    assert not turn.grows


def test_where_every_frame_is_wanted_each_waits_longer_than_the_one_before() -> None:
    turn = Clock([15]).turn(seconds=0.3, rate_hz=RATE_HZ, every_frame=True)
    assert turn.dropped == turn.waiting == 0
    assert turn.latency_ms == tuple(15.0 + 5 * k for k in range(1, 30))
    assert turn.engine_ms == (15.0,) * 29
    assert turn.grows


def test_a_queue_that_grows_too_long_is_broken_off_and_what_waits_is_counted() -> None:
    turn = Clock([100]).turn(seconds=0.5, rate_hz=RATE_HZ, every_frame=True)
    assert turn.grows
    assert turn.done + turn.waiting == 50
    assert turn.done == 6, f"{OVERTIME} times half a second"


def test_one_slow_run_makes_the_frames_behind_it_late() -> None:
    turn = Clock([4, 4, 44, 4]).turn(seconds=0.2, rate_hz=RATE_HZ, every_frame=True)
    assert turn.latency_ms[:8] == (4.0, 44.0, 38.0, 32.0, 26.0, 20.0, 14.0, 8.0)
    assert set(turn.latency_ms[8:]) == {4.0}
    assert not turn.grows, "it drains again"


def test_the_first_frame_after_a_pause_is_apart() -> None:
    clock = Clock([70, 4])
    turn = clock.turn(seconds=0.1, rate_hz=5.0, pause_s=2.0)
    assert clock.slept_ms[0] == 2000
    assert turn.lead_ms == 70
    assert set(turn.latency_ms) == {4.0}


def test_a_trend_needs_frames_enough() -> None:
    turn = Turn(lead_ms=1, latency_ms=tuple(map(float, range(7))), engine_ms=(0.1,) * 7, seconds=1)
    assert turn.grown_ms == 0
    assert not turn.grows
