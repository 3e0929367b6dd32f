"""The sender for us4us scanners, run as it stands with a stand-in for the maker's package."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import zmq
from example_process import running_example
from live import TIMEOUT_S
from server_process import ServerProcess

from usert.bundle import Bundle
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.protocol.rf_message import RFMessage
from usert.signal_check import check_signal

EXAMPLE = Path(__file__).parents[3] / "examples" / "arrus_sender.py"
STAND_IN = EXAMPLE.parent / "stand_ins" / "arrus_package"


@contextmanager
def sender(rf: str, *words: str, config: str = "us4r.prototxt") -> Iterator[subprocess.Popen[str]]:
    path = os.pathsep.join([str(STAND_IN), os.environ.get("PYTHONPATH", "")])
    env = {"PYTHONPATH": path}
    with running_example(EXAMPLE, config, rf, "--voltage", "20", *words, env=env) as process:
        yield process


def frame_of(rf: str) -> RFMessage:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger, socket.rcvtimeo = 0, round(1e3 * TIMEOUT_S)
        socket.subscribe(b"")
        socket.connect(rf)
        return RFMessage.from_parts(socket.recv_multipart())


@pytest.mark.parametrize("config", ["us4r.prototxt", "a_list_of_probes.prototxt"])
def test_rf_has_the_geometry_of_the_sequence_and_looks_like_rf(config: str, tmp_path: Path) -> None:
    rf = f"ipc://{tmp_path}/rf"
    with sender(rf, config=config) as process:
        message = frame_of(rf)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=TIMEOUT_S)
    scan = message.frame.scan
    assert (scan.fs_hz, scan.f0_hz, scan.sound_speed_m_s) == (32.5e6, 6e6, 1540)
    assert (scan.line_pitch_mm, scan.first_depth_mm) == pytest.approx((0.3, 0))
    assert (message.frame.samples.shape, message.frame.samples.dtype) == ((2048, 128), np.float32)
    signal_ = check_signal(message.frame.samples, scan)
    assert signal_.judged
    assert not signal_.line
    assert np.unique(message.frame.samples).size > 100_000  # not cut to whole numbers
    assert "rf on ipc://" in out
    assert "frames sent, dropped" in out


def test_a_convex_probe_has_its_radius_and_the_angle_of_its_pitch(tmp_path: Path) -> None:
    rf = f"ipc://{tmp_path}/rf"
    with sender(rf, config="convex.prototxt"):
        scan = frame_of(rf).frame.scan
    assert scan.radius_mm == 50
    assert scan.line_angle_deg == pytest.approx(np.degrees(0.3 / 50))


def test_iq_is_turned_down_by_the_transmit_frequency(tmp_path: Path) -> None:
    rf = f"ipc://{tmp_path}/iq"
    with sender(rf, "--iq"):
        message = frame_of(rf)
    scan = message.frame.scan
    assert (scan.fs_hz, scan.f0_hz, scan.demodulation_hz) == (16.25e6, 6e6, 6e6)
    assert message.frame.samples.shape == (1024, 128, 2)
    signal_ = check_signal(message.frame.samples, scan)
    assert signal_.judged
    assert not signal_.line
    # in baseband, where the maker's beamformer leaves it about f0
    spectrum = np.abs(np.fft.fft(message.frame.signal, axis=0)).mean(axis=1)
    frequencies = np.fft.fftfreq(1024, 1 / scan.fs_hz)
    assert abs(np.average(frequencies, weights=spectrum**2)) < 0.3e6


def test_a_live_server_makes_images_of_it(bundle: Bundle, tmp_path: Path) -> None:
    rf, strain = f"ipc://{tmp_path}/rf", f"ipc://{tmp_path}/strain"
    words = ("--bundle", bundle.folder, "--rf", rf, "--publish", strain)
    with sender(rf), ServerProcess(*words), StrainClient(strain) as client:
        image = client.receive(3 * TIMEOUT_S)
    assert image is not None
    assert (image.stream, image.shape) == ("us4us", (2048, 128))
