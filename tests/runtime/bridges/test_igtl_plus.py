"""PLUS' own conventions: types and orientations of images, the message that states them, and IQ into a live server.

PLUS itself was not run: the messages are written from its source (`plus_messages`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from igtl_ends import BridgeProcess, Talker
from live import TIMEOUT_S, running, wait_until
from plus_messages import tracked_frame
from pyigtl.messages import ImageMessage

from usert.errors import OptionError
from usert.runtime.bridges.igtl_frames import FrameReader, ImageReading
from usert.runtime.bridges.igtl_source import IgtlSource, SourceConfig
from usert.runtime.bridges.igtl_tracked_frame import read_tracked_frame
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines.interface import Engine
from usert.runtime.protocol.header import MalformedError
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer

AXIAL_MM = 1e3 * 1540 / (2 * 40e6)
RF = np.arange(24 * 8, dtype=np.int16).reshape(24, 8)
IQ = np.arange(24 * 8 * 2, dtype=np.int16).reshape(24, 8, 2)
LYING = {
    "FM": lambda frame: frame.T,
    "FU": lambda frame: frame.T,
    "NM": lambda frame: frame[::-1].T,
    "MF": lambda frame: frame,
    "UF": lambda frame: frame,
    "UN": lambda frame: frame[::-1],
}
"""How a frame (N, M) lies in an image (second, fastest axis) of an orientation."""


def parsed(raw: bytes) -> Any:
    fields = {"header_version": int.from_bytes(raw[:2], "big"), "timestamp": 1_700_000_000.25}
    return read_tracked_frame(fields, raw[58:])


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("orientation", list(LYING))
def test_a_frame_is_upright_whatever_orientation_is_stated(orientation: str, version: int) -> None:
    across = orientation[0] in "MU"
    raw = tracked_frame(
        LYING[orientation](RF),
        spacing=(0.3, AXIAL_MM) if across else (AXIAL_MM, 0.3),
        orientation=orientation,
        version=version,
    )
    samples, scan = FrameReader(ImageReading(f0_hz=7e6)).read(parsed(raw))
    np.testing.assert_array_equal(samples, RF)
    assert (scan.fs_hz, scan.line_pitch_mm) == pytest.approx((40e6, 0.3), rel=1e-6)


@pytest.mark.parametrize("orientation", list(LYING))
def test_the_orientation_of_an_image_is_what_a_person_says(orientation: str) -> None:
    image = ImageMessage(np.ascontiguousarray(LYING[orientation](RF))[np.newaxis])
    reading = ImageReading(f0_hz=7e6, fs_hz=40e6, line_pitch_mm=0.3, orientation=orientation)
    np.testing.assert_array_equal(FrameReader(reading).read(image)[0], RF)
    # and goes before what PLUS states
    stated = parsed(tracked_frame(LYING[orientation](RF), orientation="MN"))
    np.testing.assert_array_equal(FrameReader(reading).read(stated)[0], RF)


def in_pairs(frame: Any) -> Any:
    return frame.swapaxes(1, 2).reshape(48, 8)


@pytest.mark.parametrize(
    ("kind", "image_type", "orientation", "image"),
    [
        ("iq-pairs", "RF_IQ_LINE", "FM", in_pairs(IQ).T),
        ("iq-pairs", "RF_IQ_LINE", "NM", in_pairs(IQ[::-1]).T),  # PLUS keeps pairs together, too
        ("iq-lines", "RF_I_LINE_Q_LINE", "FM", IQ.reshape(24, 16).T),
        ("iq-lines", "RF_I_LINE_Q_LINE", "NM", IQ[::-1].reshape(24, 16).T),
    ],
)
def test_iq_as_plus_orders_it(
    kind: Any, image_type: str, orientation: str, image: Any, caplog: pytest.LogCaptureFixture
) -> None:
    raw = tracked_frame(np.ascontiguousarray(image), image_type=image_type, orientation=orientation)
    reading = ImageReading(f0_hz=7e6, fs_hz=10e6, line_pitch_mm=0.3, kind=kind, demodulation_hz=6.5e6)
    np.testing.assert_array_equal(FrameReader(reading).read(parsed(raw))[0], IQ)
    assert not caplog.records


def test_of_rf_beside_its_hilbert_transform_the_rf_is_taken() -> None:
    raw = tracked_frame(IQ.reshape(24, 16).T.copy(), image_type="RF_I_LINE_Q_LINE", spacing=(AXIAL_MM, 0.15))
    samples, scan = FrameReader(ImageReading(f0_hz=7e6, kind="rf-lines")).read(parsed(raw))
    np.testing.assert_array_equal(samples, IQ[..., 0])
    assert (scan.kind, scan.line_pitch_mm) == ("rf", pytest.approx(0.3))
    with pytest.raises(MalformedError, match="15 lines, expected pairs"):
        FrameReader(ImageReading(f0_hz=7e6, kind="rf-lines")).read(
            parsed(tracked_frame(RF.T[:7].repeat(3, 0)[:15]))
        )


def test_another_type_than_the_one_asked_for_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    reader = FrameReader(ImageReading(f0_hz=7e6, fs_hz=40e6, line_pitch_mm=0.3))
    for image_type in ("RF_IQ_LINE", "RF_IQ_LINE", "RF_REAL"):
        reader.read(parsed(tracked_frame(RF.T.copy(), image_type=image_type)))
    assert [record.message for record in caplog.records] == [
        "the sender states RF_IQ_LINE, which is --kind iq-pairs: read as --kind rf"
    ]


def test_samples_of_32_bits_become_floats() -> None:
    """As WinProbe's RF, up to 24 bits exactly."""
    wide = RF.astype(np.int32) << 14
    reading = ImageReading(f0_hz=7e6, fs_hz=40e6, line_pitch_mm=0.3)
    samples, _ = FrameReader(reading).read(parsed(tracked_frame(wide.T.copy())))
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, wide)


@pytest.mark.parametrize(
    ("at", "new", "words"),
    [
        (slice(58, 60), b"\0\x0c", "scalar type 12, expected one of"),
        (slice(62, 64), b"\0\x09", "image type 9 and orientation 12, expected less than 6 and 14"),
        (slice(78, 80), b"\0\x0e", "image type 2 and orientation 14"),
        (slice(64, 66), b"\0\x19", "bytes with 384 of samples, expected .* with 400"),
        (slice(74, 78), b"\xff\xff\xff\xff", "of samples, expected"),
        (slice(100, None), b"", "42 bytes, expected 86 or more"),
    ],
)
def test_a_message_that_cannot_be_is_refused(at: slice, new: bytes, words: str) -> None:
    raw = bytearray(tracked_frame(RF.T.copy()))
    raw[at] = new
    with pytest.raises(MalformedError, match=words):
        parsed(bytes(raw))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"orientation": "MM"}, "--orientation: got 'MM', expected two or three letters, such as FM or UFA"),
        ({"orientation": "FM", "transpose": True}, "--orientation: got 'FM', expected none with --transpose"),
    ],
)
def test_an_orientation_is_said_once_and_in_letters_of_plus(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        ImageReading(f0_hz=7e6, **changes)


def test_one_type_of_message_is_taken_the_first_with_a_frame() -> None:
    """PLUS may send an image as both; the TRACKEDFRAME has no device name."""
    talker = Talker()
    config = SourceConfig(
        receive=f"127.0.0.1:{talker.port}", publish="tcp://127.0.0.1:0", reading=ImageReading(f0_hz=7e6)
    )
    raw = tracked_frame(RF.T.copy(), spacing=(AXIAL_MM, 0.3))
    image = ImageMessage(RF[np.newaxis], np.diag([0.3, AXIAL_MM, 1, 1]), device_name="Image_Reference").pack()
    bad = bytearray(raw)
    bad[50:58], bad[62:64] = bytes(8), b"\0\x09"
    with talker.listener, running(IgtlSource(config)) as source, talker.accept() as connection:
        connection.sendall(bytes(bad) + raw + image + raw)
        wait_until(lambda: source.sent == 2)
    assert source.refused.counts == {"field": 1}


@contextmanager
def iq_sender(frames: list[Any]) -> Iterator[int]:
    """The port of a server that sends TRACKEDFRAMEs of IQ lines over and over, frame n at 1.7e9 + n seconds."""
    talker, ended = Talker(), threading.Event()

    def serve() -> None:
        with talker.accept() as connection, suppress(OSError):  # the bridge ends first
            number = 0
            while not ended.wait(0.02):
                connection.sendall(
                    tracked_frame(
                        frames[number % len(frames)].reshape(24, 16).T.copy(),
                        spacing=(4 * AXIAL_MM, 0.15),
                        image_type="RF_I_LINE_Q_LINE",
                        timestamp=1_700_000_000 + number,
                    )
                )
                number += 1

    thread = threading.Thread(target=serve)
    with talker.listener:
        thread.start()
        try:
            yield talker.port
        finally:
            ended.set()
            thread.join(TIMEOUT_S)


def test_lines_of_i_and_q_become_images_of_a_live_server_at_the_times_of_plus(engine: Engine) -> None:
    random = np.random.default_rng(0)
    frames = [random.integers(-1000, 1000, (24, 8, 2)).astype(np.int16) for _ in range(7)]
    with iq_sender(frames) as port:
        words = ("--receive", f"127.0.0.1:{port}", "--publish", "tcp://127.0.0.1:0", "--f0-mhz", "7")
        with BridgeProcess("igtl-rf", *words, "--kind", "iq-lines", "--demodulation-mhz", "6.5") as bridge:
            rf = bridge.wait_for(r"rf on (\S+)")
            bridge.wait_for(
                r"frames of TRACKEDFRAME: (24 samples by 8 lines of IQ, fs 10 MHz, line pitch 0.3 mm)"
            )
            server = StrainServer(
                engine=engine, config=ServerConfig(rf=rf, publish="tcp://127.0.0.1:0"), weights_hash=""
            )
            with running(server), StrainClient(server.publish_endpoint) as client:
                image = client.receive(TIMEOUT_S)
            code, _, errors = bridge.end()
    assert image is not None
    assert code == 0
    assert "the sender states" not in errors
    numbers = [stamp.acquired_ns / 1e9 - 1_700_000_000 for stamp in (image.reference, image.current)]
    assert numbers == [round(number) for number in numbers]
    assert numbers[0] < numbers[1]
    assert (image.shape, image.scan.demodulation_hz) == ((24, 8), 6.5e6)
    assert (image.scan.fs_hz, image.scan.line_pitch_mm) == pytest.approx((10e6, 0.3), rel=1e-6)
    expected = engine.run(*(frames[int(number) % 7] for number in numbers), image.scan)
    np.testing.assert_array_equal(image.displacement, expected.displacement)
