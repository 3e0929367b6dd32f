"""Sequence, times and clock of the frames of one source: what a server needs of them, and what they are instead.

Knows no socket. Invariant: times are subtracted only where both are of one clock, by its name.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from usert.runtime.protocol.age import clock_id

from .check import Check, failed, few, not_checked, passed

_UNITS = {"microseconds": 1e3, "milliseconds": 1e6, "seconds": 1e9}
_RATIO = 1.6
"""How far a clock may seem to differ from a unit."""
_LEAST_S = 0.3
"""Shortest run of frames from which the unit of a clock is told."""
_JUMP_NS = 1_000_000_000
"""The server's rule: a clock that runs ahead of arrival by more has jumped."""
_WALL_NS = 10**17
"""March 1973: a monotonic clock, which counts from the start of a machine, is below."""
_DAY_NS = 86_400 * 10**9
_OLD_MS, _GROWN_MS = 1000.0, 250.0
_LEAST_HZ = 2.0
_UNEVEN, _UNEVEN_SHARE = 0.5, 0.25
"""Relative distance from the mean interval from which one is uneven, and the share of those that is too much."""
_BUNCHED, _BUNCHED_SHARE = 0.2, 0.4
"""Interval of arrival, over the mean, below which frames come together, and the share of those that is too much."""
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_MONOTONIC = "read a monotonic clock in nanoseconds: time.monotonic_ns(), steady_clock, CLOCK_MONOTONIC"


@dataclass(frozen=True, slots=True)
class Stamp:
    """Sequence and times of one frame, as its header states them, and when it arrived."""

    sequence: int
    time_ns: int
    acquired_ns: int
    clock: str
    arrived_ns: int
    """By the monotonic clock of this machine."""


def timeline_checks(stamps: Sequence[Stamp], wall_ns: int | None = None) -> Iterator[Check]:
    """The checks of the `stamps` of one source, two or more, in order of arrival.

    `wall_ns`: nanoseconds since 1970 when the last of them arrived; None: now.
    """
    stamped = [stamp for stamp in stamps if stamp.time_ns]
    times = _times(stamps, stamped)
    yield _sequence(stamps)
    yield _clock(stamps)
    yield times
    believed = [] if times.verdict == "FAILED" else stamped
    yield _acquired(stamps, believed, time.time_ns() if wall_ns is None else wall_ns)
    yield _rate(stamps)
    yield not_checked("age", "time_ns is wrong") if times.verdict == "FAILED" else _age(stamped)


def _sequence(stamps: Sequence[Stamp]) -> Check:
    numbers = [stamp.sequence for stamp in stamps]
    wrong, missing = [], 0
    for before, after in pairwise(numbers):
        if after == before:
            wrong.append(f"{after} twice")
        elif after < before:
            wrong.append(f"{after} after {before}")
        elif after > before + 1:
            missing += after - before - 1
            wrong.append(
                f"{before + 1} to {after - 1} missing" if after - before > 2 else f"{after - 1} missing"
            )
    if not wrong:
        return passed("sequence", f"{numbers[0]} to {numbers[-1]}, each one more")
    found = f"sequence: got {few(wrong)}, expected each one more"
    if len(set(numbers)) == 1:
        return failed(
            "sequence", f"sequence: got {numbers[0]} in every frame, expected each one more", "count up"
        )
    if missing and not any("missing" not in line for line in wrong):
        return failed(
            "sequence",
            found,
            f"{missing} frames of {len(numbers) + missing} never came: the sender's queue "
            "was full, or frames are counted that are not sent",
        )
    return failed(
        "sequence", found, "count every frame once, in the order in which it was complete, and send it once"
    )


def _clock(stamps: Sequence[Stamp]) -> Check:
    names = list(dict.fromkeys(stamp.clock for stamp in stamps))
    if len(names) > 1:
        return failed(
            "clock",
            f"clock: got {few([repr(name) for name in names], 3)}, expected one name",
            "name the clock once, when the sender starts: each other name begins a session, without an image",
        )
    if not names[0]:
        return not_checked(
            "clock",
            "empty: ages are lower bounds",
            f"on Linux send the content of {_BOOT_ID}, else a random string",
        )
    ours = "that of this machine" if names[0] == clock_id() else "not that of this machine"
    return passed("clock", f"{names[0][:40]!r}, {ours}")


def _times(stamps: Sequence[Stamp], stamped: Sequence[Stamp]) -> Check:
    if not stamped:
        return not_checked(
            "time_ns", "always 0: ages are lower bounds, and rates are those of arrival", _MONOTONIC
        )
    if len(stamped) < len(stamps):
        got = len(stamps) - len(stamped)
        return failed(
            "time_ns", f"time_ns: got 0 in {got} of {len(stamps)} frames, expected all or none", _MONOTONIC
        )
    times = np.array([stamp.time_ns for stamp in stamps], dtype=np.int64)
    arrived = np.array([stamp.arrived_ns for stamp in stamps], dtype=np.int64)
    if unit := _unit(times, arrived):
        return failed(
            "time_ns", f"time_ns: got {unit} by the pace of arrival, expected nanoseconds", _MONOTONIC
        )
    steps, waits = np.diff(times), np.diff(arrived)
    same, back = int((steps == 0).sum()), int((steps < 0).sum())
    if same == len(steps):
        return failed("time_ns", "time_ns: got the same in every frame, expected it to grow", _MONOTONIC)
    if same or back:
        at = int(np.argmax(steps <= 0))
        found = f"from {times[at]} to {times[at + 1]} (sequence {stamps[at + 1].sequence})"
        return failed(
            "time_ns",
            f"time_ns: falls or stays {same + back} times, first {found}, expected it to grow",
            f"{_MONOTONIC}, not a wall clock that is set",
        )
    ahead = steps - waits
    if (ahead > _JUMP_NS).any():
        at = int(ahead.argmax())
        return failed(
            "time_ns",
            f"time_ns: jumps ahead of arrival by {ahead[at] / 1e6:.0f} ms "
            f"(sequence {stamps[at + 1].sequence}), expected at most 1000 ms",
            _MONOTONIC,
        )
    if times[0] > _WALL_NS:
        return failed(
            "time_ns",
            f"time_ns: got {times[0]}, looks like the wall clock, expected a monotonic one",
            f"{_MONOTONIC}; the wall clock is acquired_ns",
        )
    neighbours = np.diff([stamp.sequence for stamp in stamps]) == 1
    usual = float(np.mean(steps[neighbours])) if neighbours.any() else 0.0
    uneven = np.abs(steps[neighbours] - usual) > _UNEVEN * usual
    found = f"every {usual / 1e6:.1f} ms, at most {steps.max() / 1e6:.1f} ms"
    if neighbours.any() and uneven.mean() > _UNEVEN_SHARE:
        return failed(
            "time_ns",
            f"time_ns: {found}: {100 * uneven.mean():.0f} % of the intervals are off by half or more",
            "read the clock when the frame is complete, not when it is taken from a queue",
        )
    return passed("time_ns", found)


def _unit(times: NDArray[np.int64], arrived: NDArray[np.int64]) -> str:
    """The unit of `times` where it is another than nanoseconds; empty where it is not, or cannot be told."""
    grown, took = float(times[-1] - times[0]), float(arrived[-1] - arrived[0])
    if took < 1e9 * _LEAST_S:
        return ""
    units = (unit for unit, ns in _UNITS.items() if took / _RATIO <= grown * ns <= took * _RATIO)
    return next(units, "")


def _acquired(stamps: Sequence[Stamp], stamped: Sequence[Stamp], wall_ns: int) -> Check:
    name, remedy = "acquired_ns", "nanoseconds since 1970, of the same moment as time_ns; 0 if unknown"
    known = [stamp for stamp in stamps if stamp.acquired_ns]
    if not known:
        return not_checked(name, "always 0: records have no date", remedy)
    value = known[-1].acquired_ns
    off_ns = value - wall_ns
    if abs(off_ns) > _DAY_NS:
        units = {"nanoseconds": 1.0, **_UNITS}
        unit = next((unit for unit, ns in units.items() if abs(value * ns - wall_ns) <= _DAY_NS), "")
        looks = (
            f"looks like {unit}" if unit else f"{abs(off_ns) / _DAY_NS:.0f} days from this machine's clock"
        )
        return failed(name, f"{name}: got {value}, {looks}, expected nanoseconds since 1970", remedy)
    both = [stamp for stamp in stamped if stamp.acquired_ns]
    if len(both) > 1:
        apart = (both[-1].acquired_ns - both[0].acquired_ns) - (both[-1].time_ns - both[0].time_ns)
        if abs(apart) > _JUMP_NS:
            return failed(
                name,
                f"{name}: grew by {apart / 1e6:+.0f} ms more than time_ns, expected the same moments",
                "read both clocks together, when the frame is complete",
            )
    return passed(name, f"{off_ns / 1e9:+.1f} s from this machine's clock")


def _rate(stamps: Sequence[Stamp]) -> Check:
    waits = np.diff([stamp.arrived_ns for stamp in stamps]) / 1e9
    rate = 1 / max(float(waits.mean()), 1e-9)
    found = f"{rate:.1f} frames a second, longest pause {1e3 * waits.max():.0f} ms"
    if rate < _LEAST_HZ:
        return failed(
            "rate",
            f"rate: got {found}, expected {_LEAST_HZ:g} or more a second",
            "a pair may be a second apart at most",
        )
    bunched = float((waits < _BUNCHED * waits.mean()).mean())
    if bunched > _BUNCHED_SHARE:
        return failed(
            "rate",
            f"rate: {found}, {100 * bunched:.0f} % of the frames arrive at once with others",
            "send each frame when it is complete; do not collect them",
        )
    return passed("rate", found)


def _age(stamped: Sequence[Stamp]) -> Check:
    if len(stamped) < 2:
        return not_checked("age", "no times")
    behind = np.array([stamp.arrived_ns - stamp.time_ns for stamp in stamped], dtype=np.int64) / 1e6
    quarter = max(1, len(behind) // 4)
    grown = float(np.median(behind[-quarter:]) - np.median(behind[:quarter]))
    if grown > _GROWN_MS:
        return failed(
            "age",
            f"age: grew by {grown:.0f} ms while listening, expected it to stay",
            "frames wait in a queue of the sender: drop them where the socket has no room",
        )
    if any(stamp.clock != clock_id() for stamp in stamped):
        return not_checked("age", f"the clocks differ; it grew by {grown:+.0f} ms while listening")
    if behind.min() < 0:
        return failed(
            "age",
            f"age: got {behind.min():.0f} ms, expected above 0: time_ns is later than the arrival",
            f"clock names this machine's, so time_ns must be read from it. {_MONOTONIC}",
        )
    found = f"{np.median(behind):.1f} ms on arrival (p50), at most {behind.max():.1f} ms"
    if np.median(behind) > _OLD_MS:
        return failed(
            "age",
            f"age: {found}, expected less than {_OLD_MS:.0f} ms",
            "time_ns is of another clock than clock says, such as one that started with the program, or frames wait in "
            "a queue",
        )
    return passed("age", found)
