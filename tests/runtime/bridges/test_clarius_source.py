"""RF of a Clarius probe: a stand-in for the maker's module calls back, the bridge sends, a live server makes images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq
from clarius_ends import CAST, clarius_config, subscriber
from clarius_probe import ClariusProbe
from igtl_ends import BridgeProcess
from live import TIMEOUT_S, running, wait_until
from numpy.typing import NDArray

from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.recording import Recording, RecordingWriter
from usert.runtime.bridges.clarius_frames import ClariusReading
from usert.runtime.bridges.clarius_source import ClariusSource
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines.interface import Engine
from usert.runtime.server.config import ServerConfig
from usert.runtime.server.server import StrainServer

ANY = "tcp://127.0.0.1:0"
SHAPE = (64, 8)


def samples_of(number: int, shape: tuple[int, int] = SHAPE) -> NDArray[np.int16]:
    return np.random.default_rng(number).integers(-1000, 1000, shape).astype(np.int16)


@pytest.fixture
def probe() -> Iterator[ClariusProbe]:
    with ClariusProbe() as made:
        yield made


def test_rf_comes_out_as_it_went_in_and_b_mode_is_counted(probe: ClariusProbe) -> None:
    with running(ClariusSource(clarius_config(probe, stream="or2"))) as source, subscriber(source) as heard:
        probe.accept()
        messages = []
        for number in range(3):
            for _ in range(3):
                probe.b_mode()
            probe.rf(samples_of(number), time_ns=142_156_180_010 + number)
            messages.append(heard.next())
    for number, message in enumerate(messages):
        frame = message.frame
        np.testing.assert_array_equal(frame.samples, samples_of(number))
        assert (message.stream, frame.sequence) == ("or2", number)
        assert frame.acquired_ns - messages[0].frame.acquired_ns == number
        assert abs(frame.acquired_ns - time.time_ns()) < 60e9
        assert (frame.scan.fs_hz, frame.scan.line_pitch_mm) == pytest.approx((20e6, 0.3))
        assert frame.scan.f0_hz == 7.5e6
    assert (source.b_images, source.sent, source.refused.total) == (9, 3, 0)


def test_a_recording_that_is_replayed_by_the_probe_comes_out_again(
    probe: ClariusProbe, tmp_path: Path
) -> None:
    simulated = SimulatedScanner(ScannerConfig(shape=(256, 32)))
    path = tmp_path / "recording.h5"
    with RecordingWriter(path) as recording:
        for k in range(4):
            recording.append(simulated.frame(k))
    with (
        Recording(path) as recording,
        running(ClariusSource(clarius_config(probe))) as source,
        subscriber(source) as heard,
    ):
        probe.accept()
        for frame in recording:
            probe.rf(frame.samples)
            np.testing.assert_array_equal(heard.next().frame.samples, frame.samples)


def test_a_live_server_makes_images_and_a_new_session_of_a_new_roi(engine: Engine) -> None:
    with (
        ClariusProbe() as probe,
        BridgeProcess(
            *("clarius", "--receive", probe.address, "--publish", ANY, "--cast", str(CAST)),
            *("--probe", "L7", "--stream", "probe"),
        ) as bridge,
    ):
        rf = bridge.wait_for(r"rf on (\S+) \(pub\), from the Clarius at 127")
        server = StrainServer(engine=engine, config=ServerConfig(rf=rf, publish=ANY), weights_hash="")
        probe.accept()
        with running(server), StrainClient(server.publish_endpoint) as client:
            sessions = []
            for shape, lateral_um in (((64, 8), 300.0), ((64, 6), 300.0), ((48, 6), 300.0), ((48, 6), 200.0)):
                image = None
                for number in range(1000):
                    probe.rf(samples_of(number, shape), lateral_um=lateral_um)
                    image = client.receive(0.02)
                    if image is not None and (image.shape, image.scan.line_pitch_mm) == (
                        shape,
                        lateral_um / 1e3,
                    ):
                        break
                assert image is not None
                sessions.append(image.session)
        bridge.line(
            r"RF: 48 samples by 6 lines, fs 20 MHz by 38.5 microns a sample, f0 7.5 MHz, line pitch 0.2 mm"
        )
        code, summary, errors = bridge.end()
    assert sessions == [1, 2, 3, 4]
    assert code == 0
    assert summary.startswith("bridge: ")
    assert "frames sent, dropped" in summary
    assert "Traceback" not in errors


def test_a_probe_that_is_gone_is_connected_again(probe: ClariusProbe) -> None:
    lines: list[str] = []
    with (
        running(ClariusSource(clarius_config(probe, silent_s=0.2), report=lines.append)) as source,
        subscriber(source) as heard,
    ):
        probe.accept().rf(samples_of(0))
        heard.next()
        probe.lose()  # of which the module tells nothing
        probe.accept().rf(samples_of(1))
        message = heard.next()
    np.testing.assert_array_equal(message.frame.samples, samples_of(1))
    assert message.frame.sequence == 1
    assert lines[0] == f"connected to {probe.address}"
    assert f"waiting for {probe.address}: got nothing for 0.2 s" in lines[2]


def test_a_probe_that_is_not_there_is_waited_for() -> None:
    with ClariusProbe() as probe:
        port, early = probe.port, clarius_config(probe)
    lines: list[str] = []
    with running(ClariusSource(early, report=lines.append)) as source:
        wait_until(lambda: len(lines) > 0)
        with ClariusProbe(port) as probe, subscriber(source) as heard:
            probe.accept().rf(samples_of(0))
            heard.next()
    assert lines[0].startswith(f"waiting for {early.receive}: got no connection, expected one of a probe")
    assert lines[1] == f"connected to {early.receive}"


def test_a_frozen_probe_may_be_silent(probe: ClariusProbe) -> None:
    lines: list[str] = []
    with (
        running(ClariusSource(clarius_config(probe, silent_s=0.5), report=lines.append)) as source,
        subscriber(source) as heard,
    ):
        probe.accept().call("freeze", 1)
        wait_until(lambda: "frozen" in lines)
        wait_until(lambda: time.monotonic() - source._heard_s > 0.7)
        assert not any(line.startswith("waiting") for line in lines)
        probe.call("freeze", 0)
        probe.rf(samples_of(0))
        heard.next()
        wait_until(lambda: "imaging" in lines)


def test_a_probe_without_rf_mode_is_told_of_once(probe: ClariusProbe) -> None:
    lines: list[str] = []
    with (
        running(ClariusSource(clarius_config(probe), report=lines.append)) as source,
        subscriber(source) as heard,
    ):
        probe.accept()
        for _ in range(100):
            probe.b_mode()
        wait_until(lambda: len(lines) >= 2)
        probe.rf(samples_of(0))
        heard.next()
        wait_until(lambda: len(lines) >= 3)
    assert lines[1].startswith("got B-mode images without RF, expected RF in between: turn on RF mode")
    assert lines[2].startswith("RF: 64 samples by 8 lines")
    assert len(lines) == 3
    assert source.b_images == 100


def test_an_image_that_comes_processed_and_raw_is_one(probe: ClariusProbe) -> None:
    lines: list[str] = []
    with (
        running(ClariusSource(clarius_config(probe), report=lines.append)) as source,
        subscriber(source) as heard,
    ):
        probe.accept()
        for _ in range(59):
            probe.b_mode()
        probe.rf(samples_of(0))
        heard.next()
        wait_until(lambda: len(lines) >= 2)
    assert lines[1].startswith("RF: 64 samples by 8 lines")


def test_images_that_cannot_be_read_are_counted_and_cost_nothing_else(
    probe: ClariusProbe, caplog: pytest.LogCaptureFixture
) -> None:
    with running(ClariusSource(clarius_config(probe))) as source, subscriber(source) as heard:
        probe.accept()
        probe.rf(samples_of(0), bps=8)
        probe.rf(samples_of(0), lines=2 * SHAPE[1])
        probe.rf(samples_of(0), axial=-1.0)
        probe.rf(samples_of(0), lines="eight")
        probe.call("raw", 1, 2, 3, memory=b"x")  # the callback of another version
        probe.rf(samples_of(1))
        np.testing.assert_array_equal(heard.next().frame.samples, samples_of(1))
    assert source.refused.counts == {"field": 1, "size": 1, "geometry": 1, "image": 2}
    assert "got 8 bits a sample, expected 16" in caplog.text


def test_a_receiver_that_does_not_read_costs_frames_and_no_callback(probe: ClariusProbe) -> None:
    frame = np.zeros((240, 128), np.int16)  # larger ones start a thread of pyzmq's that keeps sockets
    with (
        running(ClariusSource(clarius_config(probe))) as source,
        zmq.Context() as context,
        context.socket(zmq.SUB) as stalled,
    ):
        stalled.linger, stalled.rcvhwm = 0, 1
        stalled.setsockopt(zmq.RCVBUF, 1)
        stalled.subscribe(b"")
        stalled.connect(source.endpoint)
        assert source._sender.wait_for_receiver(TIMEOUT_S)
        probe.accept()
        for _ in range(300):  # it would stand still here if a callback waited
            probe.rf(frame)
        wait_until(lambda: source.sent + source.dropped == 300)
        assert source.dropped > 0


def test_rf_of_another_frequency_is_told_of_once(
    probe: ClariusProbe, caplog: pytest.LogCaptureFixture
) -> None:
    simulated = SimulatedScanner(ScannerConfig(shape=(512, 32)))
    reading = ClariusReading(f0_hz=simulated.scan.f0_hz)
    with (
        running(ClariusSource(clarius_config(probe, reading=reading))) as source,
        subscriber(source) as heard,
    ):
        probe.accept()
        for axial_um, frames in ((1e3 * simulated.scan.axial_pitch_mm, 3), (38.5, 3)):
            for k in range(frames):
                probe.rf(simulated.frame(k).samples, axial=axial_um)
                heard.next()
    assert len(caplog.records) == 1
    assert "f0" in caplog.text
