"""The sender of frames: what is on the wire, and what is refused."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from frame_listener import listener
from live import SCAN, TIMEOUT_S, numbered_frame
from numpy.typing import NDArray

from usert.errors import FrameError, OptionError
from usert.frame import Scan
from usert.runtime.clients.frame_sender import FrameSender
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.rf_message import RFMessage

ANY = "tcp://127.0.0.1:0"
IQ = Scan(fs_hz=10e6, f0_hz=7e6, sound_speed_m_s=1540, line_pitch_mm=0.3, demodulation_hz=6.5e6)
LARGE = np.zeros((2048, 512), np.int16)
"""A frame of 2 MB."""


def sent_and_received(samples: Any, scan: Scan = SCAN, **options: Any) -> RFMessage:
    with FrameSender(ANY, scan, stream="probe") as sender, listener(sender) as heard:
        assert sender.wait_for_receiver(TIMEOUT_S)
        assert sender.send(samples, **options)
        return heard.receive()


def test_a_frame_arrives_as_it_is_with_its_geometry_and_stamps() -> None:
    samples = numbered_frame().samples
    before = time.monotonic_ns(), time.time_ns()
    message = sent_and_received(samples)
    np.testing.assert_array_equal(message.frame.samples, samples)
    assert (message.frame.scan, message.stream, message.clock) == (SCAN, "probe", clock_id())
    assert before[0] <= message.frame.time_ns <= time.monotonic_ns()
    assert before[1] <= message.frame.acquired_ns
    assert message.frame.sequence == 0


def test_what_the_scanner_states_is_sent() -> None:
    deeper = Scan(fs_hz=20e6, f0_hz=7e6, sound_speed_m_s=1540, line_pitch_mm=0.2)
    with FrameSender(ANY, SCAN, clock="c1") as sender, listener(sender) as heard:
        assert sender.wait_for_receiver(TIMEOUT_S)
        sender.send(numbered_frame().samples, deeper, sequence=np.int64(41), time_ns=7, acquired_ns=0)
        sender.send(numbered_frame().samples)
        first, second = heard.receive(), heard.receive()
    assert (first.frame.sequence, first.frame.time_ns, first.frame.acquired_ns) == (41, 7, 0)
    assert (first.frame.scan, first.clock) == (deeper, "c1")
    assert (second.frame.scan, second.frame.sequence) == (SCAN, 42)


PAIRS = np.random.default_rng(0).integers(-1000, 1000, (6, 4, 2)).astype(np.float32)
COMPLEX = PAIRS[..., 0] + 1j * PAIRS[..., 1]


@pytest.mark.parametrize(
    ("samples", "scan", "expected"),
    [
        (PAIRS[..., 0].astype(np.float64), SCAN, PAIRS[..., 0]),
        (PAIRS[..., 0], SCAN, PAIRS[..., 0]),
        (np.asfortranarray(PAIRS[..., 0].astype(np.int16)), SCAN, PAIRS[..., 0]),
        (PAIRS[::2, ::-1, 1], SCAN, PAIRS[::2, ::-1, 1]),
        ([[1.0, 2.0], [3.0, 4.0]], SCAN, [[1, 2], [3, 4]]),
        ([[1.0, np.nan]], SCAN, [[1, np.nan]]),
        (PAIRS, IQ, PAIRS),
        (PAIRS.astype(np.int16), IQ, PAIRS),
        (COMPLEX.astype(np.complex64), IQ, PAIRS),
        (COMPLEX.astype(np.complex128), IQ, PAIRS),
        (COMPLEX.T, IQ, PAIRS.transpose(1, 0, 2)),
    ],
)
def test_every_layout_of_an_array_is_the_same_frame(samples: Any, scan: Scan, expected: Any) -> None:
    frame = sent_and_received(samples, scan).frame
    np.testing.assert_array_equal(frame.samples, expected)
    assert frame.samples.dtype == (np.int16 if getattr(samples, "dtype", None) == np.int16 else np.float32)


@pytest.mark.parametrize("samples", [LARGE.copy(), LARGE[:, ::2].copy().T, COMPLEX.astype(np.complex64)])
def test_the_scanner_may_use_its_buffer_again_at_once(samples: NDArray[Any]) -> None:
    scan = IQ if np.iscomplexobj(samples) else SCAN
    with FrameSender(ANY, scan) as sender, listener(sender) as heard:
        assert sender.wait_for_receiver(TIMEOUT_S)
        samples[:] = 1
        sender.send(samples)
        samples[:] = 2
        np.testing.assert_array_equal(heard.receive().frame.signal, np.ones(samples.shape))


@pytest.mark.parametrize(
    ("samples", "scan", "told"),
    [
        (np.zeros((4, 3), np.int32), SCAN, "got dtype int32, expected int16 or float32"),
        (np.zeros((4, 3), ">i2"), SCAN, "got dtype >i2, expected int16 or float32"),
        ("frame", SCAN, "got dtype <U5, expected int16 or float32"),
        (np.zeros(12, np.int16), SCAN, r"got shape \(12,\)"),
        (np.zeros((0, 3), np.int16), SCAN, r"got shape \(0, 3\)"),
        (np.zeros((4, 3, 1), np.int16), SCAN, r"got shape \(4, 3, 1\)"),
        (np.zeros((4, 3), np.complex64), SCAN, "IQ needs a scan with demodulation_hz"),
        (np.zeros((4, 3), np.float32), IQ, "in-phase and quadrature"),
        (np.zeros((4, 3, 2), np.complex64), IQ, r"got shape \(4, 3, 2\), expected \(N, M\)"),
        (np.zeros(12, np.complex64), SCAN, r"got shape \(12,\), expected \(N, M\)"),
        (np.zeros((1, 4097), np.int16), SCAN, "at most 32768 axial samples, 4096 scan lines"),
        (np.zeros((32768, 513), np.int16), SCAN, "and 16777216 of both"),
    ],
)
def test_what_is_no_frame_is_one_clear_error_and_the_next_one_is_sent(
    samples: Any, scan: Scan, told: str
) -> None:
    with FrameSender(ANY, scan) as sender, listener(sender) as heard:
        assert sender.wait_for_receiver(TIMEOUT_S)
        with pytest.raises(FrameError, match=told):
            sender.send(samples)
        sender.send(numbered_frame().samples, SCAN)
        assert heard.receive().frame.sequence == 0
        assert (sender.sent, sender.dropped) == (1, 0)


@pytest.mark.parametrize("field", ["sequence", "time_ns", "acquired_ns"])
@pytest.mark.parametrize("value", [-1, 1 << 63])
def test_counts_that_no_header_holds_are_refused(field: str, value: int) -> None:
    with FrameSender(ANY, SCAN) as sender:
        with pytest.raises(OptionError, match=f"{field}: got {value}, expected an integer from 0"):
            sender.send(numbered_frame().samples, **{field: value})  # type: ignore[arg-type]
        assert sender.dropped == 0


@pytest.mark.parametrize(
    "options", [{"stream": "a\nb"}, {"stream": "x" * 257}, {"clock": "\ud800"}, {"socket_type": "req"}]
)
def test_names_that_no_header_holds_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r": got .*, expected "):
        FrameSender(ANY, SCAN, **options)
