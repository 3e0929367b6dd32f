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
        for detail in (
            "key dtype is missing",
            "dtype: got 3, expected int16",
            "dtype: got 3, expected a string",
        ):
            faults.add("dtype", detail)
    assert caplog.messages == [
        "malformed message (dtype): key dtype is missing",
        "malformed message (dtype): dtype: got 3, expected int16",
        "malformed message (dtype): dtype: got 3, expected a string",
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


def test_a_value_that_differs_in_each_message_is_one_fault_and_hides_no_other(
    faults: FaultCounter, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for k in range(2 * MOST_DETAILS):
        faults.add("field", f"header: time_ns: got {k}.5, expected an integer")
        faults.add("field", f"header: sequence: got '{k}', expected an integer")
    faults.add("field", "header: key clock is missing")
    assert caplog.messages == [
        "malformed message (field): header: time_ns: got 0.5, expected an integer",
        "malformed message (field): header: sequence: got '0', expected an integer",
        "malformed message (field): header: key clock is missing",
    ]
    clock.now_s = 60
    faults.log_repeated()
    last = 2 * MOST_DETAILS - 1
    assert caplog.messages[3:] == [
        f"malformed message (field): {last} more in the last minute, the newest: {newest}, expected an integer"
        for newest in (f"header: time_ns: got {last}.5", f"header: sequence: got '{last}'")
    ]


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
        faults.add("size", f"got 3 bytes, expected {k}")
    assert len(caplog.messages) == MOST_DETAILS + 3, "200 s: three minutes"
    for k in range(1000):
        faults.add(f"kind {k}", "x" * 10_000)
    counts = faults.counts
    assert len(counts) == MOST_KINDS + 1
    assert counts[OTHER] == 1000 - (MOST_KINDS - 1)
    assert faults.total == 21_000
    stored = sum(sys.getsizeof(detail) for kind in faults._kinds.values() for detail in kind.faults)
    assert stored < 1 << 20
    assert max(map(len, caplog.messages)) < 1000
