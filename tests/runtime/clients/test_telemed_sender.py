"""The sender for Telemed scanners, run as it stands with a stand-in for the maker's library, compiled here."""

from __future__ import annotations

import itertools
import shutil
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

from usert.bundle import default_bundle_path
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.protocol.rf_message import RFMessage
from usert.signal_check import check_signal

EXAMPLE = Path(__file__).parents[3] / "examples" / "telemed_sender.py"
SOURCE = EXAMPLE.parent / "stand_ins" / "telemed" / "usgfw2wrapper.c"
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no cc: apt-get install gcc")
    out = tmp_path_factory.mktemp("telemed") / "usgfw2wrapper.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", *STRICT, "-o", out, SOURCE, "-lm"], check=True)
    return out


@contextmanager
def sender(library: Path, rf: str, *words: str, amiss: str = "") -> Iterator[subprocess.Popen[str]]:
    with running_example(EXAMPLE, library, rf, *words, env={"TELEMED": amiss}) as process:
        yield process


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    assert any(text in line for line in process.stdout), f"ended without {text!r}"


def end(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, out
    return out


@contextmanager
def receiver(rf: str) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger, socket.rcvtimeo = 0, round(1e3 * TIMEOUT_S)
        socket.subscribe(b"")
        socket.connect(rf)
        yield socket


def receive(socket: zmq.Socket[bytes]) -> RFMessage:
    return RFMessage.from_parts(socket.recv_multipart())


def receive_shape(socket: zmq.Socket[bytes], shape: tuple[int, int]) -> RFMessage:
    """The first frame of that shape, of the next fifty."""
    for _ in range(50):
        if (message := receive(socket)).frame.shape == shape:
            return message
    raise AssertionError(f"no frame of {shape}")


def test_rf_has_the_window_and_geometry_of_the_device(library: Path, tmp_path: Path) -> None:
    rf = f"ipc://{tmp_path}/rf"
    with sender(library, rf, "--window", "10", "30", "20", "67") as process, receiver(rf) as socket:
        message = receive(socket)
        out = end(process)
    scan, samples = message.frame.scan, message.frame.samples
    assert (scan.fs_hz, scan.f0_hz, scan.sound_speed_m_s) == (40e6, 5e6, 1540)
    assert scan.line_pitch_mm == pytest.approx(0.3, rel=1e-3)
    assert scan.first_depth_mm == pytest.approx(10 + 3 * 1.54 * 12.5e-3)
    assert (samples.shape, samples.dtype) == ((1038 - 3, 48), np.int16)
    assert np.abs(samples).max() < 32000  # the three samples before the echoes are left out
    signal_ = check_signal(samples, scan)
    assert signal_.judged
    assert not signal_.line
    assert "frames sent, dropped" in out
    assert out.count("stand-in: released") == 1


def test_each_frame_is_sent_once(library: Path, tmp_path: Path) -> None:
    rf = f"ipc://{tmp_path}/rf"
    with sender(library, rf) as process, receiver(rf) as socket:
        messages = [receive(socket) for _ in range(10)]
        tell(process, "freeze")
        tell(process, "run")
        messages += [receive(socket) for _ in range(10)]
    numbers = [message.frame.sequence for message in messages]
    assert numbers == list(range(numbers[0], numbers[0] + 20))
    for one, other in itertools.pairwise(messages):
        assert not np.array_equal(one.frame.samples, other.frame.samples)


def test_a_frozen_device_sends_nothing(library: Path, tmp_path: Path) -> None:
    rf = f"ipc://{tmp_path}/rf"
    with sender(library, rf) as process, receiver(rf) as socket:
        receive(socket)
        tell(process, "freeze")
        frames = 0
        while socket.poll(500):
            receive(socket)
            frames += 1
            assert frames < 50


def test_window_depth_and_frequency_may_change(library: Path, tmp_path: Path) -> None:
    rf = f"ipc://{tmp_path}/rf"
    with sender(library, rf) as process, receiver(rf) as socket:
        assert receive(socket).frame.shape == (1038 - 3, 66)  # the middle half of 40 mm and of 128 lines
        tell(process, "window 20 32 40 87")
        message = receive_shape(socket, (623 - 3, 48))
        assert int(message.frame.scan.first_depth_mm) == 20
        tell(process, "frequency 7")
        while receive(socket).frame.scan.f0_hz != 12e6:
            pass
        for line in ("window 20", "depth --1", "depth 1 mm", f"depth {10**30}", "freeze now", ""):
            tell(process, line)
            wait_for_line(process, f"{line!r} is no command")
        tell(process, "depth 1")
        wait_for_line(process, "depth 50")


def test_a_convex_probe_has_the_radius_and_angle_of_its_lines(library: Path, tmp_path: Path) -> None:
    rf = f"ipc://{tmp_path}/rf"
    with sender(library, rf, amiss="convex"), receiver(rf) as socket:
        scan = receive(socket).frame.scan
    assert scan.radius_mm == pytest.approx(40, abs=0.01)
    assert scan.line_angle_deg == pytest.approx(np.degrees(0.3 / 40), rel=1e-3)
    assert scan.line_pitch_mm == pytest.approx((40 + 20) * 0.3 / 40, rel=1e-3)


def test_what_the_device_does_not_tell_is_an_option(library: Path, tmp_path: Path) -> None:
    rf = f"ipc://{tmp_path}/rf"
    words = ("--f0-mhz", "4.5", "--line-pitch-mm", "0.25", "--skip", "5")
    with sender(library, rf, *words, amiss="harmonic steered"), receiver(rf) as socket:
        scan = receive(socket).frame.scan
    assert (scan.f0_hz, scan.line_pitch_mm) == (4.5e6, 0.25)
    assert scan.first_depth_mm == pytest.approx(10 + 5 * 1.54 * 12.5e-3)


@pytest.mark.parametrize(
    ("amiss", "line"),
    [
        ("no-library", "the maker's Usgfw2 is not installed"),
        ("no-probe", "no probe: find_connected_probe gave 6, expected 101"),
        ("no-window", "no RF: 1 lines from 0 to 0 mm, 25 ns a sample"),
        ("steered", "the lines are steered: set the steering angle to 0"),
        ("harmonic", "f0 is not known: the device states 5.02 MHz, harmonic or none; give --f0-mhz"),
    ],
)
def test_what_is_amiss_is_one_line(library: Path, tmp_path: Path, amiss: str, line: str) -> None:
    with sender(library, f"ipc://{tmp_path}/rf", amiss=amiss) as process:
        out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    told = [text for text in out.splitlines() if "rf on" not in text]
    assert sorted(told) == ["stand-in: released", f"telemed: {line}"]


def test_a_library_that_is_not_there_or_without_rf_is_one_line(tmp_path: Path) -> None:
    with sender(tmp_path / "none.dll", f"ipc://{tmp_path}/rf") as process:
        out, _ = process.communicate(timeout=TIMEOUT_S)
    assert "needs Windows and Python of 64 bit" in out
    (tmp_path / "b_mode.c").write_text("int on_init(void) { return 0; }\n")
    subprocess.run(["cc", "-shared", "-o", tmp_path / "b_mode.so", tmp_path / "b_mode.c"], check=True)
    with sender(tmp_path / "b_mode.so", f"ipc://{tmp_path}/rf") as process:
        out, _ = process.communicate(timeout=TIMEOUT_S)
    assert "is not the library with RF: it has no RF_Data_source_ID" in out
    assert len(out.splitlines()) == 1


def test_a_probe_that_sends_no_more_is_opened_again(library: Path, tmp_path: Path) -> None:
    rf = f"ipc://{tmp_path}/rf"
    with sender(library, rf, amiss="lost") as process, receiver(rf) as socket:
        tell(process, "window 20 32 40 87")
        while (
            message := receive(socket)
        ).frame.sequence < 15:  # ten frames, then none, until it is opened again
            pass
        assert message.frame.shape == (623 - 3, 48)
        out = end(process)
    assert "no new frame for 5 s" in out
    assert out.count("stand-in: released") == 2


def pressed(sequence: int) -> float:
    """The strain of a frame of the stand-in, whose first one is its number 1."""
    step = (sequence + 1) % 40
    return 0.001 * min(step, 40 - step)


def test_a_live_server_makes_images_with_the_true_strain(library: Path, tmp_path: Path) -> None:
    rf, strain = f"ipc://{tmp_path}/rf", f"ipc://{tmp_path}/strain"
    words = ("--bundle", default_bundle_path(), "--rf", rf, "--publish", strain)
    found = []
    with (
        sender(library, rf, "--window", "10", "22", "40", "87") as process,
        ServerProcess(*words),
        StrainClient(strain) as client,
    ):
        while len(found) < 12:
            image = client.receive(3 * TIMEOUT_S)
            assert image is not None
            assert (image.stream, image.shape) == ("telemed", (623 - 3, 48))
            true = pressed(image.current.sequence) - pressed(image.reference.sequence)
            if abs(true) >= 0.004:
                found.append((image.mean_strain, true))
        first = image.session
        tell(process, "window 20 32 40 87")
        while image.session == first:
            image = client.receive(3 * TIMEOUT_S)
            assert image is not None
        assert int(image.scan.first_depth_mm) == 20
    measured, true_ = np.transpose(found)
    assert np.median(np.abs(measured / true_ - 1)) < 0.05
