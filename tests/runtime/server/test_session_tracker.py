"""SessionTracker of one source: what continues, what begins anew, and what is none of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
from live import numbered_message

from usert.runtime.server.session_tracker import SessionTracker

MS = 1_000_000


def fresh() -> SessionTracker:
    numbers = count(1)
    return SessionTracker(lambda: next(numbers))


def admitted(sessions: SessionTracker, *frames: tuple[int, int], **changes: Any) -> list[int | None]:
    """SessionTracker of frames given as sequence and time in ms, which arrive at once."""
    return [sessions.admit(numbered_message(k, time_ns=at * MS, **changes), at * MS) for k, at in frames]


def test_a_steady_stream_is_one_session_and_losses_are_counted() -> None:
    sessions = fresh()
    assert admitted(sessions, (3, 0), (4, 0), (7, 0), (8, 0)) == [1, 1, 1, 1]
    assert (sessions.counts["lost"], sessions.counts["sessions"]) == (2, 1)


def test_every_change_starts_a_session() -> None:
    sessions = fresh()
    scan = numbered_message().frame.scan
    floats = np.ones((24, 8), np.float32)
    numbers = [
        sessions.admit(message, 0)
        for message in (
            numbered_message(1),
            numbered_message(3, shape=(24, 9)),
            numbered_message(4),
            numbered_message(5, samples=floats),
            numbered_message(6, samples=floats, scan=replace(scan, line_pitch_mm=0.2)),
            numbered_message(7, clock="another"),
            numbered_message(8, clock="another"),
        )
    ]
    assert numbers == [1, 2, 3, 4, 5, 6, 6]
    assert sessions.counts["lost"] == 0


def test_a_session_says_why_it_began() -> None:
    sessions = fresh()
    scan = numbered_message().frame.scan
    floats = np.ones((24, 9), np.float32)
    other = replace(scan, fs_hz=31.25e6, line_pitch_mm=0.2)
    reasons = []
    for message in (
        numbered_message(1),
        numbered_message(2, shape=(24, 9)),
        numbered_message(3, samples=floats),
        numbered_message(4, samples=floats, scan=other),
        numbered_message(5, samples=floats, scan=other, clock="another"),
        numbered_message(5, samples=floats, scan=other, clock="another"),
        numbered_message(2, samples=floats, scan=other, clock="another"),
        numbered_message(1 << 30, samples=floats, scan=other, clock="another"),
    ):
        sessions.admit(message, 0)
        reasons.append(sessions.reason)
    assert reasons == [
        "first frame",
        "shape changed from 24 x 8 to 24 x 9",
        "type changed from int16 to float32",
        "geometry: fs_hz 40e6 → 31.25e6, line_pitch_mm 0.3 → 0.2",
        "clock changed from '' to 'another'",
        "sequence stays at 5",
        "sequence started again at 2, after 5",
        "sequence leapt from 2 to 1073741824",
    ]
    jumping = fresh()
    admitted(jumping, (1, 5000), (2, 3680))
    assert jumping.reason == "clock jumped by -1320 ms"


def test_geometry_that_jitters_is_one_session_with_the_geometry_of_its_first_frame() -> None:
    sessions = fresh()
    scan = numbered_message().frame.scan
    noise = np.random.default_rng(3)
    for k in range(1, 200):
        jittered = replace(
            scan,
            fs_hz=scan.fs_hz * (1 + 9e-7 * noise.uniform(-1, 1)),
            line_pitch_mm=scan.line_pitch_mm * (1 + 1e-9 * noise.uniform(-1, 1)),
        )
        message = numbered_message(k, scan=scan if k == 1 else jittered)
        assert sessions.admit(message, 0) == 1
        assert sessions.in_session(message.frame).scan == scan
    drifted = numbered_message(200, scan=replace(scan, fs_hz=scan.fs_hz * (1 + 2e-6)))
    assert sessions.admit(drifted, 0) == 2, "however slowly it got there"
    assert sessions.reason == "geometry: fs_hz 40e6 → 40.00008e6"
    assert sessions.in_session(drifted.frame) is drifted.frame


def test_a_duplicate_whose_geometry_jitters_is_a_duplicate() -> None:
    sessions = fresh()
    scan = numbered_message().frame.scan
    admitted(sessions, (1, 10), (2, 20))
    again = numbered_message(2, time_ns=20 * MS, scan=replace(scan, fs_hz=scan.fs_hz * (1 + 1e-9)))
    assert sessions.admit(again, 30 * MS) is None


def test_a_source_that_starts_again_starts_a_session() -> None:
    without_times, with_times = fresh(), fresh()
    assert admitted(without_times, (8, 0), (8, 0), (2, 0), (3, 0)) == [1, 2, 3, 3]
    assert admitted(with_times, (100, 1000), (1, 1100), (2, 1150)) == [1, 2, 2]
    assert admitted(with_times, (1, 30)) == [3], "by a clock that starts again, too"
    assert with_times.counts["duplicates"] == with_times.counts["late"] == 0


def test_a_frame_that_comes_twice_is_refused() -> None:
    sessions = fresh()
    assert admitted(sessions, (1, 10), (2, 20), (2, 20), (1, 10), (3, 30)) == [1, 1, None, None, 1]
    assert (sessions.counts["duplicates"], sessions.counts["late"]) == (2, 0)
    assert (sessions.counts["lost"], sessions.counts["sessions"]) == (0, 1)


def test_a_frame_that_was_overtaken_is_refused_and_not_lost() -> None:
    sessions = fresh()
    assert admitted(sessions, (1, 10), (4, 40), (2, 20), (5, 50), (3, 30), (3, 30)) == [
        1,
        1,
        None,
        1,
        None,
        None,
    ]
    assert (sessions.counts["duplicates"], sessions.counts["late"]) == (1, 2)
    assert sessions.counts["lost"] == 0


@pytest.mark.parametrize(
    ("times", "arrivals"),
    [
        ([1000, 1020, 500, 520], [0, 20, 40, 60]),
        ([1000, 1020, 9000, 9020], [0, 20, 40, 60]),
        ([1000, 1020, 0, 0], [0, 20, 40, 60]),
    ],
    ids=["falls", "leaps", "goes away"],
)
def test_a_clock_that_jumps_starts_a_session(times: list[int], arrivals: list[int]) -> None:
    sessions = fresh()
    numbers = [
        sessions.admit(numbered_message(k, time_ns=time * MS), at * MS)
        for k, (time, at) in enumerate(zip(times, arrivals, strict=True), start=1)
    ]
    assert numbers == [1, 1, 2, 2]
    assert sessions.counts["clock_jumps"] == 1


def test_a_pause_and_a_link_that_was_cut_are_no_jumps() -> None:
    sessions = fresh()
    for k, (time, at) in enumerate([(1000, 0), (6000, 5000), (6020, 10_000), (6040, 10_001)], start=1):
        assert sessions.admit(numbered_message(k, time_ns=time * MS), at * MS) == 1
    assert sessions.admit(numbered_message(300, time_ns=12_000 * MS), 10_002 * MS) == 1
    assert (sessions.counts["clock_jumps"], sessions.counts["lost"]) == (0, 295)


def test_a_sequence_that_leaps_counts_anew_and_loses_nothing() -> None:
    """Or the count of the lost would grow beyond what a header may hold."""
    sessions = fresh()
    assert admitted(sessions, (1, 10), ((1 << 63) - 1, 20), (2, 40_000), ((1 << 63) - 1, 40_010)) == [
        1,
        2,
        3,
        4,
    ]
    assert admitted(sessions, (5, 80_000), (5 + (1 << 20), 80_010)) == [5, 5]
    assert sessions.counts["lost"] == (1 << 20) - 1
