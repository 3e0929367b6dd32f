"""What is wrong with a sender's messages is named, each by its check, and what is right is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from usert.analytic import envelope
from usert.frame import RFFrame
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.sources.mess import Mess
from usert.testing.check import Check, Report
from usert.testing.message_faults import message_faults
from usert.testing.sender_check import CHECKS, SenderCheck

PERIOD_NS = 33_333_333
START_NS = 5 * 10**12
WALL_NS = 1_795_000_000 * 10**9
SCANNER = SimulatedScanner(ScannerConfig(shape=(256, 32)), seed=1)
FRAMES = [SCANNER.frame(k) for k in range(6, 14)]
IQ = replace(FRAMES[0].scan, fs_hz=10e6, demodulation_hz=FRAMES[0].scan.f0_hz)
Parts = list[bytes]


def good_frame(k: int) -> RFFrame:
    return replace(
        FRAMES[k % len(FRAMES)],
        sequence=k,
        time_ns=START_NS + k * PERIOD_NS,
        acquired_ns=WALL_NS + k * PERIOD_NS,
    )


def parts_of(frame: RFFrame, stream: str = "probe", clock: str | None = None) -> Parts:
    message = RFMessage(frame=frame, stream=stream, clock=clock_id() if clock is None else clock)
    return [bytes(part) for part in message.to_parts()]


def report_of(messages: list[Parts], *, late_ns: Callable[[int], int] = lambda k: 2_000_000) -> Report:
    """The report on messages of which number k arrives `late_ns(k)` after it was complete."""
    check = SenderCheck()
    for k, parts in enumerate(messages):
        check.take(parts, START_NS + k * PERIOD_NS + late_ns(k))
    return check.report("tcp://scanner:1", wall_ns=WALL_NS + len(messages) * PERIOD_NS)


def run_of(change: Callable[[RFFrame], RFFrame] = lambda frame: frame, count: int = 40) -> list[Parts]:
    return [parts_of(change(good_frame(k))) for k in range(count)]


def with_header(count: int = 40, **changes: Any) -> list[Parts]:
    """Messages with keys of the header replaced by a value or by a function of the number, None: left out."""
    made = []
    for k, (header, *rest) in enumerate(run_of(count=count)):
        fields = json.loads(header)
        for key, value in changes.items():
            fields[key] = value(k) if callable(value) else value
            if fields[key] is None:
                del fields[key]
        made.append([json.dumps(fields).encode(), *rest])
    return made


def failures(report: Report) -> dict[str, Check]:
    return {check.name: check for check in report.failures}


def test_a_good_sender_passes_every_check_that_can_be_made() -> None:
    report = report_of(run_of())
    assert report.passed
    assert {check.verdict for check in report.checks} == {"passed"}
    assert [check.name for check in report.checks] == [name for name in CHECKS if name != "motion"]
    assert (report.messages, round(report.seconds, 2)) == (40, 1.3)
    assert "no check failed" in report.table.splitlines()[-1]
    assert json.loads(json.dumps(report.as_dict()))["passed"] is True


def test_good_iq_passes_too() -> None:
    rng = np.random.default_rng(0)

    def iq(k: int) -> RFFrame:
        noise = rng.standard_normal((296, 32, 2))
        smooth = np.apply_along_axis(np.convolve, 0, noise, np.hanning(5), mode="valid")
        return replace(good_frame(k), samples=(1000 * smooth).astype(np.float32), scan=IQ)

    report = report_of([parts_of(iq(k)) for k in range(20)])
    assert report.passed, report.table
    assert {"signal", "motion"} <= {check.name for check in report.checks if check.verdict == "passed"}


HEADERS: list[tuple[dict[str, Any], str, str]] = [
    ({"usert": 2}, "message", "protocol version: got 2, expected 1"),
    ({"kind": "bmode"}, "message", "message kind: got 'bmode', expected 'rf'"),
    ({"sequence": None}, "header", "key sequence is missing"),
    ({"sequence": 7.0}, "header", "sequence: got 7.0, expected an integer"),
    ({"time_ns": -1}, "header", "time_ns: got -1"),
    ({"stream": ""}, "", ""),
    ({"stream": 3}, "header", "stream: got 3"),
    ({"clock": "a\nb"}, "header", "clock: got 'a\\nb'"),
    ({"dtype": "uint8"}, "header", "dtype: got 'uint8', expected"),
    ({"byte_order": "big"}, "header", "byte_order: got 'big', expected"),
    ({"shape": "256x32"}, "header", "shape: got '256x32', expected [N, M]"),
    ({"shape": [256, 33]}, "samples", "samples: got 16384 bytes, expected 16896"),
    ({"shape": [256, 16]}, "samples", "samples: got 16384 bytes, expected 8192"),
    ({"shape": [256, 32, 2]}, "samples", "shape: got [256, 32, 2] and no demodulation_hz, expected [N, M]"),
    ({"demodulation_hz": 6.5e6}, "samples", "shape: got [256, 32] and demodulation_hz, expected [N, M, 2]"),
    ({"fs_hz": 40}, "geometry", "fs_hz: got 40, expected 200000 to 2e+09 Hz: looks like MHz"),
    ({"line_pitch_mm": None}, "geometry", "key line_pitch_mm is missing"),
    ({"f0_hz": 25e6}, "geometry", "f0_hz: got 2.5e+07 at fs_hz 4e+07"),
]


@pytest.mark.parametrize(("changes", "check", "line"), HEADERS)
def test_each_key_that_is_wrong_is_named(changes: dict[str, Any], check: str, line: str) -> None:
    report = report_of(with_header(**changes))
    if not check:
        assert report.passed
        return
    found = failures(report)[check]
    assert line in found.found
    assert "(40 of 40 messages, first in number 1)" in found.found
    assert found.remedy


def test_all_faults_of_a_message_are_named_at_once() -> None:
    parts = with_header(1, sequence="1", dtype="int32", fs_hz=40, sound_speed_m_s=1.54)[0]
    lines = [fault.found for fault in message_faults(parts)[0]]
    for key in ("sequence", "dtype", "fs_hz", "sound_speed_m_s"):
        assert sum(key in line for line in lines) == 1


@pytest.mark.parametrize("name", ["roi", "depth", "jitter", "bmode", "drop", "half", "nan"])
def test_a_fault_is_one_that_the_server_counts_as_malformed(name: str) -> None:
    mess = Mess((name,), seed=1)
    for k in range(100):
        for step in mess.tick(good_frame(k), START_NS + k):
            if isinstance(step, list):
                assert message_faults(step)[0]
            elif isinstance(step, RFFrame):
                assert not message_faults(parts_of(step))[0]


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ([b"{"], "expected JSON"),
        ([b"[]"], "got a JSON list"),
        ([parts_of(good_frame(0))[0]], "got 1 parts, expected 2"),
        ([*parts_of(good_frame(0)), b""], "got 3 parts, expected 2"),
        ([b'{"usert":1,"kind":"rf","fs_hz":NaN}', b""], "NaN is not JSON"),
    ],
)
def test_messages_that_cannot_be_read(parts: Parts, line: str) -> None:
    assert line in failures(report_of([parts] * 2))["message"].found


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


def spoilt(frame: RFFrame) -> RFFrame:
    samples = frame.samples.astype(np.float32)
    samples[3] = np.nan
    return replace(frame, samples=samples)


@pytest.mark.parametrize(
    ("change", "check", "line"),
    [
        (lambda f: replace(f, samples=f.samples.byteswap()), "signal", "bytes in the other order"),
        (
            lambda f: replace(f, samples=envelope(f.samples).astype(np.float32)),
            "signal",
            "looks like B-mode or an envelope",
        ),
        (lambda f: replace(f, samples=np.ascontiguousarray(f.samples.T)), "signal", "lines first"),
        (lambda f: replace(f, scan=replace(f.scan, f0_hz=f.scan.f0_hz / 4)), "signal", "expected 70 or more"),
        (spoilt, "values", "40 of 40 frames are NaN or infinite"),
        (lambda f: replace(f, samples=0 * f.samples), "values", "40 of 40 frames are all the same"),
        (
            lambda f: replace(f, samples=FRAMES[0].samples),
            "values",
            "39 of 40 frames are those of the frame before",
        ),
        (
            lambda f: replace(f, scan=replace(f.scan, line_pitch_mm=0.3 + 0.001 * (f.sequence % 2))),
            "sessions",
            "geometry: line_pitch_mm 0.3",
        ),
    ],
)
def test_samples_that_are_something_else(change: Callable[[RFFrame], RFFrame], check: str, line: str) -> None:
    found = failures(report_of(run_of(change)))[check]
    assert line in found.found
    assert found.remedy


def test_a_region_of_interest_that_moves_is_no_fault() -> None:
    report = report_of(run_of(lambda f: replace(f, samples=f.samples[:, :24]) if f.sequence > 20 else f))
    assert report.passed
    assert "shape changed from 256 x 32 to 256 x 24" in report.table


def test_a_probe_in_air_is_not_judged() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(-9, 9, (256, 32)).astype(np.int16) for _ in range(40)]
    report = report_of(run_of(lambda f: replace(f, samples=noise[f.sequence])))
    (signal,) = (check for check in report.checks if check.name == "signal")
    assert (signal.verdict, report.passed) == ("not checked", True)
    assert "probe on tissue" in signal.remedy


def test_each_source_has_a_sequence_of_its_own() -> None:
    messages = [parts_of(good_frame(k // 2), stream=("left", "right")[k % 2]) for k in range(80)]
    report = report_of(messages, late_ns=lambda k: (k // 2 - k) * PERIOD_NS + 10**6)
    assert report.passed, report.table
    assert "left: 0 to 39, each one more" in report.table
    assert "2 sources: 'left', 'right'" in report.table


def test_many_names_keep_no_memory() -> None:
    report = report_of([parts_of(good_frame(k), stream=f"s{k}") for k in range(40)])
    assert "got more than 8 names" in failures(report)["header"].found


def test_what_a_header_states_does_not_spoil_the_table() -> None:
    report = report_of(with_header(clock="\x1b[2J"))
    assert report.table.replace("\n", "").isprintable()
