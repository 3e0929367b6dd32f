"""RF in by OpenIGTLink: pyigtl's own server sends, the bridge reads, a live server makes images of it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from igtl_ends import BridgeProcess, Talker, sender
from igtl_sender import START_S, samples_of
from live import TIMEOUT_S, running, wait_until
from numpy.typing import NDArray
from pyigtl.messages import ImageMessage
from rf_subscriber import subscriber

from usert.frame import Scan
from usert.iq import as_iq
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.bridges.igtl_frames import ImageReading
from usert.runtime.bridges.igtl_reader import MOST_BODY_BYTES
from usert.runtime.bridges.igtl_source import IgtlSource, SourceConfig
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines.interface import Engine
from usert.runtime.protocol.strain_message import StrainMessage
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer

READING = ImageReading(f0_hz=7e6)
SIMULATED = SimulatedScanner(ScannerConfig(shape=(128, 96)))
AXIAL_MM = 1e3 * 1540 / (2 * 40e6)


def first_image(
    engine: Engine, rf: str, shape: tuple[int, int]
) -> tuple[StrainMessage, list[NDArray[np.generic]]]:
    """The first image of a live server of the frames at `rf`, and the pair as it was sent, int16 of `shape`."""
    server = StrainServer(
        engine=engine, config=ServerConfig(rf=rf, publish="tcp://127.0.0.1:0"), weights_hash=""
    )
    with running(server), StrainClient(server.publish_endpoint) as client:
        image = client.receive(TIMEOUT_S)
    assert image is not None
    numbers = [round(stamp.acquired_ns / 1e9) - START_S for stamp in (image.reference, image.current)]
    return image, [samples_of(number, "int16", shape) for number in numbers]


def config(port: int, **changes: Any) -> SourceConfig:
    fields: dict[str, Any] = {
        "receive": f"127.0.0.1:{port}",
        "publish": "tcp://127.0.0.1:0",
        "reading": READING,
    }
    return SourceConfig(**(fields | changes))


@pytest.mark.parametrize(("dtype", "transpose"), [("int16", False), ("int16", True), ("float32", False)])
def test_frames_of_a_pyigtl_server_come_out_as_they_went_in(dtype: str, transpose: bool) -> None:
    spacing = (AXIAL_MM, 0.3) if transpose else (0.3, AXIAL_MM)
    reading = ImageReading(f0_hz=7e6, transpose=transpose)
    with (
        sender(dtype, (24, 8), spacing) as port,
        running(IgtlSource(config(port, reading=reading))) as source,
        subscriber(source.endpoint) as receive,
    ):
        messages = [receive() for _ in range(5)]
    for message in messages:
        frame = message.frame
        number = round(frame.acquired_ns / 1e9) - START_S
        expected = samples_of(number, dtype, (24, 8))
        np.testing.assert_array_equal(frame.samples, expected.T if transpose else expected)
        assert frame.samples.dtype == (np.float32 if dtype == "float32" else np.int16)
        assert abs(frame.acquired_ns - 10**9 * (START_S + number)) < 1000
        assert frame.scan.fs_hz == pytest.approx(40e6, rel=1e-6)
        assert frame.scan.line_pitch_mm == pytest.approx(0.3, rel=1e-6)
        assert message.stream == "RF"
    assert len({message.frame.scan for message in messages}) == 1  # though the matrices differ by rounding
    sequences = [message.frame.sequence for message in messages]
    assert sequences == list(range(sequences[0], sequences[0] + 5))
    assert source.refused.counts.keys() == {"field"}  # the B-mode


def test_a_live_server_makes_strain_images_of_it(engine: Engine) -> None:
    with (
        sender("int16", (24, 8), (0.3, AXIAL_MM)) as port,
        BridgeProcess(
            "igtl-rf", "--receive", f"127.0.0.1:{port}", "--publish", "tcp://127.0.0.1:0", "--f0-mhz", "7"
        ) as bridge,
    ):
        rf = bridge.wait_for(r"rf on (\S+)")
        bridge.wait_for(r"frames of device (RF): 24 samples by 8 lines, fs 40 MHz, line pitch 0.3 mm")
        image, pair = first_image(engine, rf, (24, 8))
        code, summary, errors = bridge.end()
    np.testing.assert_array_equal(image.displacement[1], pair[1].astype(np.float32) - pair[0])
    assert (image.session, image.stream) == (1, "RF")
    assert code == 0
    assert summary.startswith("bridge: ")
    # the B-mode is refused, once, where it came before the first RF
    assert errors.count("\n") == errors.count("got pixels of uint8") <= 1


def test_lines_of_i_and_of_q_become_images(engine: Engine) -> None:
    scan = Scan(fs_hz=10e6, f0_hz=7e6, sound_speed_m_s=1540, line_pitch_mm=0.3, demodulation_hz=6.5e6)
    with (
        sender("int16", (24, 16), (0.15, 4 * AXIAL_MM)) as port,
        BridgeProcess(
            *("igtl-rf", "--receive", f"127.0.0.1:{port}", "--publish", "tcp://127.0.0.1:0", "--f0-mhz", "7"),
            *("--fs-mhz", "10", "--line-pitch-mm", "0.3", "--kind", "iq-lines", "--demodulation-mhz", "6.5"),
        ) as bridge,
    ):
        rf = bridge.wait_for(r"rf on (\S+)")
        bridge.wait_for(r"frames of device (RF): 24 samples by 8 lines of IQ, fs 10 MHz, line pitch 0.3 mm")
        image, pair = first_image(engine, rf, (24, 16))
        assert bridge.end()[0] == 0
    assert (image.scan, image.shape) == (scan, (24, 8))
    expected = engine.run(*(samples.reshape(24, 8, 2) for samples in pair), scan)
    np.testing.assert_array_equal(image.displacement, expected.displacement)


def test_a_sender_that_is_killed_is_waited_for() -> None:
    lines: list[str] = []
    with ExitStack() as stack:
        with sender("int16", (24, 8), (0.3, AXIAL_MM)) as port:
            source = stack.enter_context(running(IgtlSource(config(port), report=lines.append)))
            wait_until(lambda: source.sent > 0)
        wait_until(lambda: lines[-1].startswith(f"waiting for 127.0.0.1:{port}: "))
        before = source.sent
        with sender("int16", (24, 8), (0.3, AXIAL_MM), port):
            wait_until(lambda: source.sent > before)


@pytest.fixture
def talker() -> Iterator[Talker]:
    made = Talker()
    with made.listener:
        yield made


def rf_bytes(number: int = 0, **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "image": samples_of(number, "int16", (24, 8))[np.newaxis],
        "ijk_to_world_matrix": np.diag([0.3, AXIAL_MM, 1, 1]),
        "timestamp": START_S + number,
        "device_name": "RF",
    }
    raw: bytes = ImageMessage(**(fields | changes)).pack()
    return raw


def test_a_message_in_pieces_is_one_message_and_a_sender_may_close_and_come_back(talker: Talker) -> None:
    lines: list[str] = []
    with running(IgtlSource(config(talker.port), report=lines.append)) as source:
        with talker.accept() as connection:
            raw = rf_bytes()
            for piece in (raw[:20], raw[20:100], raw[100:]):
                connection.sendall(piece)
                threading.Event().wait(0.12)  # longer than the reader waits at a time
            wait_until(lambda: source.sent == 1)
        with talker.accept() as connection:
            connection.sendall(rf_bytes(1))
            wait_until(lambda: source.sent == 2)
    assert f"waiting for 127.0.0.1:{talker.port}: the sender closed the connection" in lines


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n" + bytes(100), "header version 18516, expected OpenIGTLink"),
        (b"\0\1\xff\xfe" + bytes(100), "got an invalid header"),
        (rf_bytes()[:-1] + b"?", "a wrong checksum"),
        (
            struct.pack(">H12s20sIIQQ", 1, b"IMAGE", b"RF", 0, 0, 2**63, 0),
            f"expected {MOST_BODY_BYTES} at most",
        ),
    ],
)
def test_what_is_no_openigtlink_ends_the_connection_not_the_bridge(
    talker: Talker, raw: bytes, told: str
) -> None:
    lines: list[str] = []
    with running(IgtlSource(config(talker.port), report=lines.append)) as source:
        for _ in range(2):
            with talker.accept() as connection:
                connection.sendall(raw)
                wait_until(lambda: bool(lines) and told in lines[-1])
        with talker.accept() as connection:
            connection.sendall(rf_bytes())
            wait_until(lambda: source.sent == 1)
    assert sum(told in line for line in lines) == 1  # twice the same is said once


def test_images_that_are_no_rf_frame_are_counted_and_the_next_one_is_taken(talker: Talker) -> None:
    whole = rf_bytes()
    subvolume = bytearray(whole)
    subvolume[58 + 60 : 58 + 62] = b"\0\1"
    subvolume[50:58] = bytes(8)  # no checksum
    short = struct.pack(">H12s20sIIQQ", 1, b"IMAGE", b"RF", 0, 0, 10, 0) + bytes(10)
    bad = [
        rf_bytes(image=np.zeros((2, 24, 8), np.int16)),
        rf_bytes(image=np.zeros((1, 24, 8, 3), np.int16)),
        rf_bytes(image=np.zeros((1, 24, 8), np.float64)),
        rf_bytes(image=np.zeros((1, 1, 5000), np.int16)),
        rf_bytes(ijk_to_world_matrix=np.eye(4)),
        rf_bytes(ijk_to_world_matrix=np.zeros((4, 4))),
        bytes(subvolume),
        short,
    ]
    with running(IgtlSource(config(talker.port))) as source, talker.accept() as connection:
        connection.sendall(b"".join(bad) + whole)
        wait_until(lambda: source.sent == 1)
    assert source.refused.counts == {"size": 3, "field": 1, "geometry": 2, "image": 2}


def test_one_device_is_taken_the_one_asked_for_or_the_first_with_rf(talker: Talker) -> None:
    for asked, expected in (("", "one"), ("two", "two")):
        changes = {"device": asked}
        with (
            running(IgtlSource(config(talker.port, **changes))) as source,
            subscriber(source.endpoint) as receive,
            talker.accept() as connection,
        ):
            ended = threading.Event()

            def talk(connection: socket.socket = connection, ended: threading.Event = ended) -> None:
                while not ended.wait(0.01):
                    connection.sendall(rf_bytes(device_name="one") + rf_bytes(device_name="two"))

            thread = threading.Thread(target=talk)
            thread.start()
            try:
                assert {receive().stream for _ in range(5)} == {expected}
            finally:
                ended.set()
                thread.join()


@pytest.mark.parametrize(
    ("receive", "reason"),
    [("127.0.0.1:1", "Connection refused"), ("a..b:1", "'a..b' is not a host name")],
)
def test_while_there_is_no_sender_it_waits_and_says_why(receive: str, reason: str) -> None:
    lines: list[str] = []
    with running(IgtlSource(config(1, receive=receive, insecure=True), report=lines.append)):
        wait_until(lambda: bool(lines))
    assert lines == [f"waiting for {receive}: {reason}"]


def test_no_rf_is_sent_on_and_warned_of_once(talker: Talker, caplog: pytest.LogCaptureFixture) -> None:
    lines_first = [SIMULATED.frame(k).samples.T[np.newaxis] for k in range(3)]
    reading = ImageReading(f0_hz=6.5e6, fs_hz=40e6)
    with running(IgtlSource(config(talker.port, reading=reading))) as source, talker.accept() as connection:
        for number, image in enumerate(lines_first):
            connection.sendall(rf_bytes(number, image=image))
        wait_until(lambda: source.sent == 3)
    assert caplog.text.count("device RF: looks like frames with lines first") == 1


def test_iq_with_lines_first_is_warned_of_once_it_moves(
    talker: Talker, caplog: pytest.LogCaptureFixture
) -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=(512, 96)))
    frames = [as_iq(scanner.frame(k), scanner.scan.f0_hz, 4).samples for k in range(10)]
    reading = ImageReading(f0_hz=6.5e6, fs_hz=10e6, kind="iq-lines", demodulation_hz=6.5e6)
    spacing = np.diag([0.15, 4 * AXIAL_MM, 1, 1])
    with running(IgtlSource(config(talker.port, reading=reading))) as source, talker.accept() as connection:
        for number, samples in enumerate(frames):
            image = samples.swapaxes(0, 1).reshape(1, samples.shape[1], -1)
            connection.sendall(rf_bytes(number, image=image, ijk_to_world_matrix=spacing))
        wait_until(lambda: source.sent == len(frames))
    assert caplog.text.count("device RF: looks like IQ with lines first") == 1
