"""When a run is due: times that are counted out."""

from __future__ import annotations

import math

import pytest

from usert.errors import OptionError
from usert.runtime.server.keep_warm import KeepWarm

S = 1_000_000_000


def runs(warm: KeepWarm, frames: set[int], until_ms: int, *, lasts_ms: int = 0) -> list[int]:
    """Milliseconds at which a loop that looks every 50 ms, unless it runs, begins a run."""
    begun, free_ms = [], 0
    for now_ms in range(0, until_ms, 50):
        if now_ms in frames:
            warm.frame(now_ms * S // 1000)
        elif now_ms >= free_ms and warm.due(now_ms * S // 1000):
            begun.append(now_ms)
            free_ms = now_ms + lasts_ms
            warm.ran(free_ms * S // 1000)
    return begun


def test_a_pause_is_filled_at_equal_steps_until_it_is_too_long() -> None:
    assert runs(KeepWarm(1.0, 4.5), {0}, 20_000) == [1000, 2000, 3000, 4000]
    assert runs(KeepWarm(1.0, 4.0), {0}, 20_000) == [1000, 2000, 3000, 4000]
    assert runs(KeepWarm(0.5, 1.0), {100}, 20_000) == [600, 1100]


def test_nothing_is_due_before_the_first_frame_or_while_frames_come() -> None:
    assert runs(KeepWarm(1.0), set(), 20_000) == []
    assert runs(KeepWarm(1.0), set(range(0, 20_000, 950)), 20_000) == []


def test_a_frame_begins_the_pause_anew() -> None:
    assert runs(KeepWarm(1.0, 2.5), {0, 1500, 10_000}, 20_000) == [1000, 2500, 3500, 11_000, 12_000]


def test_the_time_between_runs_is_counted_from_their_end() -> None:
    assert runs(KeepWarm(1.0, 6.0), {0}, 20_000, lasts_ms=1200) == [1000, 3200, 5400]


def test_what_is_due_stays_due_until_it_is_done() -> None:
    warm = KeepWarm(1.0)
    warm.frame(0)
    assert [warm.due(now * S // 2) for now in (1, 2, 3)] == [False, True, True]
    warm.ran(2 * S)
    assert [warm.due(now * S // 2) for now in (4, 5, 6)] == [False, False, True]


def test_zero_is_off() -> None:
    assert runs(KeepWarm(0.0), {0}, 20_000) == []
    assert runs(KeepWarm(1.0, 0.0), {0}, 20_000) == []


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_impossible_times_are_refused(bad: float) -> None:
    with pytest.raises(OptionError, match=r"keep warm: every: got .* s, expected 0 or more"):
        KeepWarm(bad)
    with pytest.raises(OptionError, match=r"keep warm: most: got .* s, expected 0 or more"):
        KeepWarm(1.0, bad)
