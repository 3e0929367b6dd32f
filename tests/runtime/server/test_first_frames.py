"""The first frames of a session are looked at once: RF or not, and the unit of their clock."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from live import TIMEOUT_S, Feed, numbered_message, received_frame

from usert.analytic import envelope
from usert.frame import Scan
from usert.iq import as_iq, iq_scan
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.imaging.frames import ReceivedFrame
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.rf_message import RFMessage
from usert.runtime.server.first_frames import FirstFrames
from usert.signal_check import Signal

SECOND = 10**9
RF = SimulatedScanner(ScannerConfig(shape=(160, 48))).frame(0)
PICTURE = envelope(RF.samples)


def frame(
    samples: Any,
    *,
    at_s: float = 0,
    session: int = 1,
    time_ns: int = 0,
    scan: Scan = RF.scan,
    clock: str = "",
) -> ReceivedFrame:
    message = numbered_message(samples=samples, scan=scan, time_ns=time_ns, clock=clock)
    return received_frame(message, received_ns=round(at_s * SECOND) + SECOND, session=session)


def test_a_picture_is_warned_of_once_a_session(caplog: pytest.LogCaptureFixture) -> None:
    first = FirstFrames()
    for session, at_s in ((1, 0), (1, 2), (1, 4), (2, 6), (2, 8)):
        first.look(frame(PICTURE, at_s=at_s, session=session))
        assert first.doubtful
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [
        f"session {session}: 'test': looks like B-mode or an envelope, never negative" for session in (1, 2)
    ]


def test_good_rf_is_passed_in_silence_and_looked_at_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = FirstFrames()
    first.look(frame(RF.samples))
    assert not first.doubtful
    assert first.signal is not None
    assert first.signal.kind == "rf"
    monkeypatch.setattr("usert.runtime.server.first_frames.check_signal", None)
    first.look(frame(PICTURE, at_s=5))
    assert not first.doubtful
    assert not caplog.records


def test_iq_is_passed_in_silence_and_what_is_not_in_quadrature_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    iq = as_iq(RF, RF.scan.f0_hz, 2)
    first = FirstFrames()
    first.look(frame(iq.samples, scan=iq.scan))
    assert first.signal is not None
    assert (first.signal.kind, first.doubtful) == ("iq", False)
    assert not caplog.records
    lines = np.stack((RF.samples[:, ::2], RF.samples[:, 1::2]), axis=-1)
    first.look(frame(lines, scan=iq_scan(RF.scan, RF.scan.f0_hz, 1), session=2, at_s=2))
    assert first.doubtful
    assert "I and Q go together" in caplog.records[0].getMessage()


@pytest.mark.parametrize("transposed", [True, False])
def test_iq_with_lines_first_is_warned_of_once_it_moves(
    transposed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=(768, 96)))
    first = FirstFrames()
    for k in range(24):
        iq = as_iq(scanner.frame(min(k, 12)), scanner.scan.f0_hz, 4)
        samples = iq.samples.swapaxes(0, 1) if transposed else iq.samples
        first.look(frame(samples, scan=iq.scan, at_s=k / 20))
    assert first.signal is not None
    assert (first.signal.kind, first.doubtful) == ("lines_first" if transposed else "iq", transposed)
    assert [record.getMessage() for record in caplog.records] == [
        "session 1: 'test': looks like IQ with lines first (its phase turns with the motion across the lines): "
        "send rows first: of all lines sample 0, then sample 1"
    ] * transposed


def test_frames_in_which_nothing_is_to_be_seen_leave_it_to_later_ones(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = FirstFrames()
    noise = np.random.default_rng(0).standard_normal(RF.shape).astype(np.float32)
    for at_s, samples in enumerate((np.zeros(RF.shape, np.int16), noise)):
        first.look(frame(samples, at_s=at_s))
        assert first.signal is None
        assert not first.doubtful
    first.look(frame(RF.samples, at_s=2))
    assert first.signal is not None
    assert not caplog.records


def test_however_many_sessions_begin_samples_are_looked_at_once_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = FirstFrames()
    for session in range(1, 101):
        first.look(frame(PICTURE, at_s=session / 40, session=session))
    assert len(caplog.records) == 3


def test_samples_that_show_nothing_are_looked_at_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def look(samples: Any, scan: Scan) -> Signal:
        looked.append(1)
        return Signal(kind="noise")

    monkeypatch.setattr("usert.runtime.server.first_frames.check_signal", look)
    first = FirstFrames()
    for at_s in range(120):
        first.look(frame(RF.samples, at_s=at_s))
    assert len(looked) == 6  # at 0, 2, 6, 14, 30 and 62 s


def test_the_remedy_is_what_a_sender_can_change(caplog: pytest.LogCaptureFixture) -> None:
    swapped, turns = RF.samples.swapaxes(0, 1), as_iq(RF, RF.scan.f0_hz, 2).samples
    lower = replace(RF.scan, f0_hz=RF.scan.f0_hz / 3)
    first = FirstFrames()
    first.look(frame(RF.samples, scan=lower, session=1))
    first.look(frame(swapped, session=2, at_s=2))
    first.look(frame(turns.transpose(0, 2, 1).reshape(-1, turns.shape[1]), session=3, at_s=4))
    remedies = [
        "f0_hz, fs_hz, or shape (rows first)?",
        "send rows first: of all lines sample 0, then sample 1",
        "send I and Q of each sample side by side, shape [N, M, 2], and demodulation_hz",
    ]
    assert [message.endswith(remedy) for message, remedy in zip(caplog.messages, remedies, strict=True)] == [
        True
    ] * 3, caplog.messages


@pytest.mark.parametrize(("late", "words"), [("wall", ": looks like wall time"), ("next second", "")])
def test_a_time_after_the_arrival_is_told_once_a_session(
    late: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = FirstFrames()
    for at_s in range(6):
        stamp = time.time_ns() if late == "wall" else (at_s + 2) * SECOND
        session = 1 + at_s // 3
        first.look(frame(RF.samples, at_s=at_s, time_ns=stamp, session=session, clock=clock_id()))
        first.look(frame(RF.samples, at_s=at_s, time_ns=stamp, session=session, clock="another"))
    assert [message for message in caplog.messages if "later" in message] == [
        f"session {session}: 'test': time_ns is later than its arrival by the same clock{words}, expected the "
        "monotonic clock; ages are lower bounds"
        for session in (1, 2)
    ]


@pytest.mark.parametrize(("unit", "factor"), [("microseconds", 1e3), ("milliseconds", 1e6), ("seconds", 1e9)])
def test_a_clock_of_another_unit_is_told_in_one_line(
    unit: str, factor: float, caplog: pytest.LogCaptureFixture
) -> None:
    first = FirstFrames()
    for at_s in np.arange(0, 8, 0.05):
        first.look(frame(RF.samples, at_s=at_s, time_ns=round((1e9 * at_s + 5e9) / factor)))
    assert len(caplog.records) == 1
    assert f"looks like {unit}, expected nanoseconds" in caplog.text


def test_a_clock_that_started_with_the_program_is_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    first, other = FirstFrames(), FirstFrames()
    for at_s in np.arange(1000, 1008, 0.05):
        stamp = round(1e9 * (at_s - 1000)) + 1
        first.look(frame(RF.samples, at_s=at_s, time_ns=stamp, clock=clock_id()))
        other.look(frame(RF.samples, at_s=at_s, time_ns=stamp, clock="another"))
    assert [message for message in caplog.messages if "before" in message] == [
        "session 1: 'test': time_ns is 1001 s before its arrival by the same clock: looks like a clock that started "
        "with the program, expected the monotonic clock of the machine; ages are wrong"
    ]


@pytest.mark.parametrize("rate", [0.01, 0.3, 1, 3])
def test_a_clock_of_nanoseconds_is_not_remarked_on(rate: float, caplog: pytest.LogCaptureFixture) -> None:
    first, silent = FirstFrames(), FirstFrames()
    for at_s in np.arange(0, 8, 0.05):
        first.look(frame(RF.samples, at_s=at_s, time_ns=round(1e9 * rate * at_s) + 1))
        silent.look(frame(RF.samples, at_s=at_s))
    assert not caplog.records


def message_of(samples: Any, sequence: int) -> RFMessage:
    return numbered_message(sequence, stream="picture", samples=samples, scan=RF.scan)


def test_images_of_a_picture_carry_the_warning(feed: Feed, caplog: pytest.LogCaptureFixture) -> None:
    sequence, image = 0, None
    deadline = time.monotonic() + TIMEOUT_S
    while image is None or image.stream != "picture":
        assert time.monotonic() < deadline
        sequence += 1
        feed.source.send(message_of(PICTURE + np.float32(sequence), sequence))
        image = feed.client.receive(0.05)
    assert image.warnings[0] == "not_rf"
    assert caplog.text.count("looks like B-mode") == 1
