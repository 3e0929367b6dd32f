"""What is wrong with a sender's messages is named, each by its check, and what is right is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from checked_messages import (
    FRAMES,
    PERIOD_NS,
    START_NS,
    Parts,
    failures,
    good_frame,
    parts_of,
    report_of,
    run_of,
    with_header,
)

from usert.analytic import envelope
from usert.frame import RFFrame
from usert.iq import as_iq
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.sources.mess import Mess
from usert.testing.message_faults import message_faults
from usert.testing.sender_check import CHECKS


def test_a_good_sender_passes_every_check_that_can_be_made() -> None:
    report = report_of(run_of())
    assert report.passed
    assert {check.verdict for check in report.checks} == {"passed"}
    assert [check.name for check in report.checks] == [name for name in CHECKS if name != "motion"]
    assert (report.messages, round(report.seconds, 2)) == (40, 1.3)
    assert "no check failed" in report.table.splitlines()[-1]
    assert json.loads(json.dumps(report.as_dict()))["passed"] is True


@pytest.mark.parametrize(
    ("change", "failing", "line"),
    [
        (lambda iq: iq, "", ""),
        (lambda iq: iq.swapaxes(0, 1), "signal", "IQ with lines first"),
        (lambda iq: iq * np.float32([1, -1]), "motion", "as if Q had the other sign"),
        (lambda iq: iq[..., :1].repeat(2, axis=2), "signal", "in quadrature"),
    ],
)
def test_iq_is_held_against_its_demodulation(change: Callable[[Any], Any], failing: str, line: str) -> None:
    press = SimulatedScanner(ScannerConfig(shape=(768, 128), peak_strain=0.02), seed=1)
    frames = [as_iq(press.frame(k), press.scan.f0_hz, 4) for k in range(10)]
    messages = [
        replace(good_frame(k), samples=np.ascontiguousarray(change(frame.samples)), scan=frame.scan)
        for k, frame in enumerate(frames)
    ]
    report = report_of([parts_of(frame) for frame in messages])
    assert set(failures(report)) == {failing} - {""}
    if failing:
        assert line in failures(report)[failing].found
    else:
        assert {"signal", "motion"} <= {check.name for check in report.checks if check.verdict == "passed"}


HEADERS: list[tuple[dict[str, Any], str, str]] = [
    ({"usert": 2}, "message", "protocol version: got 2, expected 1"),
    ({"kind": "bmode"}, "message", "message kind: got 'bmode', expected 'rf'"),
    ({"sequence": None}, "header", "key sequence is missing"),
    ({"sequence": 7.0}, "header", "sequence: got 7.0, expected an integer"),
    ({"time_ns": -1}, "header", "time_ns: got -1"),
    ({"time_ns": 2**64 - 1}, "header", "time_ns: got 18446744073709551615"),
    ({"shape": [10**30, 4]}, "samples", "shape: got"),
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


def test_what_differs_in_a_value_only_is_one_line() -> None:
    parts = [with_header(1, sequence=str(k))[0] for k in range(20)]
    parts += [[header, samples[:k]] for k, (header, samples) in enumerate(run_of()[:20], 100)]
    report = report_of(parts)
    assert "'0', expected an integer" in failures(report)["header"].found
    assert "(20 of 40 messages, first in number 1)" in failures(report)["header"].found
    assert "got 100 bytes" in failures(report)["samples"].found
    assert "(20 of 40 messages, first in number 21)" in failures(report)["samples"].found
    assert [check.name for check in report.checks].count("header") == 1


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
        (
            lambda f: replace(f, samples=(f.samples.view("u2") + np.uint16(32768)).view("i2")),
            "signal",
            "unsigned samples taken for signed",
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
    assert "(32 of 40 messages, first in number 9)" in failures(report)["header"].found
    assert "sequence" not in failures(report)


def test_what_a_header_states_does_not_spoil_the_table() -> None:
    report = report_of(with_header(clock="\x1b[2J"))
    assert report.table.replace("\n", "").isprintable()
