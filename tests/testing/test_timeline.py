"""What is wrong with a sender's sequence, times, clock and pace is named, and what is right is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from checked_messages import PERIOD_NS, START_NS, WALL_NS, failures, good_frame, parts_of, report_of, run_of


@pytest.mark.parametrize(
    ("sequence", "line"),
    [
        (lambda k: 7, "got 7 in every frame"),
        (lambda k: k + (k > 9) + (k > 20), "got 10 missing, 22 missing, expected"),
        (lambda k: k + 5 * (k > 9), "got 10 to 14 missing"),
        (lambda k: k % 20, "got 0 after 19"),
        (lambda k: k - (k == 10), "got 9 twice, 10 missing"),
    ],
)
def test_a_sequence_that_does_not_grow_by_one(sequence: Callable[[int], int], line: str) -> None:
    found = failures(report_of(run_of(lambda frame: replace(frame, sequence=sequence(frame.sequence)))))
    assert line in found["sequence"].found


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda ns: ns // 1000, "got microseconds"),
        (lambda ns: ns // 10**6, "got milliseconds"),
        (lambda ns: ns // 10**9 or 1, "got seconds"),
        (lambda ns: START_NS, "the same in every frame"),
        (lambda ns: ns + WALL_NS, "looks like the wall clock"),
        (lambda ns: ns + 3 * 10**9 * (ns > START_NS + 9 * PERIOD_NS), "jumps ahead of arrival by 3000 ms"),
        (lambda ns: ns - 10**9 * (ns > START_NS + 9 * PERIOD_NS), "(sequence 10), expected it to grow"),
        (lambda ns: ns * (ns > START_NS + 9 * PERIOD_NS), "got 0 in 10 of 40 frames"),
        (lambda ns: ns - (ns - START_NS) % (4 * PERIOD_NS) * 9 // 10, "intervals are off by half"),
    ],
)
def test_times_that_are_no_steady_clock_in_nanoseconds(change: Callable[[int], int], line: str) -> None:
    messages = run_of(lambda frame: replace(frame, time_ns=change(frame.time_ns)))
    report = report_of(messages)
    assert line in failures(report)["time_ns"].found
    assert "age" not in failures(report)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda ns: ns // 10**6, "looks like milliseconds"),
        (lambda ns: ns // 10**9, "looks like seconds"),
        (lambda ns: ns - 40 * 86_400 * 10**9, "40 days from this machine's clock"),
        (lambda ns: ns + 9 * 10**9 * (ns > WALL_NS + 9 * PERIOD_NS), "grew by +9000 ms more than time_ns"),
    ],
)
def test_a_wall_clock_that_is_none(change: Callable[[int], int], line: str) -> None:
    messages = run_of(lambda frame: replace(frame, acquired_ns=change(frame.acquired_ns)))
    assert line in failures(report_of(messages))["acquired_ns"].found


def test_what_the_protocol_allows_to_be_unknown_is_not_checked() -> None:
    frames = [replace(good_frame(k), time_ns=0, acquired_ns=0) for k in range(40)]
    report = report_of([parts_of(frame, clock="") for frame in frames])
    assert report.passed
    unknown = {check.name for check in report.checks if check.verdict == "not checked"}
    assert unknown == {"clock", "time_ns", "acquired_ns", "age"}


def test_clocks_ages_and_pace() -> None:
    names = failures(report_of([parts_of(good_frame(k), clock=f"c{k}") for k in range(40)]))
    assert "got 'c0', 'c1', 'c2' and 37 more, expected one name" in names["clock"].found
    assert "39 of 40 frames begin one" in names["sessions"].found
    assert "above 0" in failures(report_of(run_of(), late_ns=lambda k: -5_000_000))["age"].found
    assert (
        "1500.0 ms on arrival" in failures(report_of(run_of(), late_ns=lambda k: 1_500_000_000))["age"].found
    )
    growing = failures(report_of(run_of(), late_ns=lambda k: 20_000_000 * k))
    assert "grew by 600 ms" in growing["age"].found
    bunched = report_of(run_of(), late_ns=lambda k: (3 - k % 4) * PERIOD_NS + k % 4)
    assert "arrive at once with others" in failures(bunched)["rate"].found
    slowly = report_of(run_of(), late_ns=lambda k: k * 10**9)
    assert "expected 2 or more a second" in failures(slowly)["rate"].found
