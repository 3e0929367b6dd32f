"""FaultCounter: each distinct fault is logged at once, repeated ones once a minute, and nothing grows without bound."""

from __future__ import annotations

import logging
import sys

import pytest

from usert.runtime.transport.fault_counter import MOST_DETAILS, MOST_KINDS, OTHER, FaultCounter


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def faults(clock: Clock) -> FaultCounter:
    return FaultCounter(logging.getLogger("test"), "malformed message", clock=clock)


def test_distinct_details_are_logged_at_once_and_once_each(
    faults: FaultCounter, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        for detail in ("got uint8", "got float64", "got big-endian"):
            faults.add("dtype", detail)
    assert caplog.messages == [
        "malformed message (dtype): got uint8",
        "malformed message (dtype): got float64",
        "malformed message (dtype): got big-endian",
    ]
    assert faults.counts == {"dtype": 9}


def test_repeated_faults_are_logged_once_a_minute_with_their_number(
    faults: FaultCounter, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    faults.add("size", "got 3 bytes")
    for _ in range(37):
        clock.now_s += 1
        faults.add("size", "got 3 bytes")
    assert len(caplog.messages) == 1
    clock.now_s = 60
    faults.log_repeated()
    faults.log_repeated()
    assert caplog.messages[1:] == [
        "malformed message (size): 37 more in the last minute, the newest: got 3 bytes"
    ]
    clock.now_s = 100
    faults.add("size", "got 3 bytes")
    clock.now_s = 300
    faults.add("size", "got 3 bytes")
    assert caplog.messages[2:] == [
        "malformed message (size): 2 more in the last 4 minutes, the newest: got 3 bytes"
    ]
    assert faults.counts == {"size": 40}


def test_a_new_detail_does_not_put_off_the_number_of_the_others(
    faults: FaultCounter, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    faults.add("size", "a")
    faults.add("size", "a")
    clock.now_s = 59
    faults.add("size", "b")
    clock.now_s = 60
    faults.log_repeated()
    assert caplog.messages[-1] == "malformed message (size): 1 more in the last minute, the newest: a"


def test_each_kind_has_its_own_minute(
    faults: FaultCounter, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    faults.add("size", "a")
    clock.now_s = 40
    faults.add("version", "b")
    faults.add("size", "a")
    faults.add("version", "b")
    clock.now_s = 70
    faults.log_repeated()
    assert [message.split(":")[0] for message in caplog.messages[2:]] == ["malformed message (size)"]


def test_neither_memory_nor_log_grows_with_what_is_sent(
    faults: FaultCounter, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for k in range(20_000):
        clock.now_s += 0.01
        faults.add("size", f"got {k} bytes")
    assert len(caplog.messages) == MOST_DETAILS + 3, "200 s: three minutes"
    for k in range(1000):
        faults.add(f"kind {k}", "x" * 10_000)
    counts = faults.counts
    assert len(counts) == MOST_KINDS + 1
    assert counts[OTHER] == 1000 - (MOST_KINDS - 1)
    assert faults.total == 21_000
    stored = sum(sys.getsizeof(detail) for kind in faults._kinds.values() for detail in kind.details)
    assert stored < 1 << 20
    assert max(map(len, caplog.messages)) < 1000
