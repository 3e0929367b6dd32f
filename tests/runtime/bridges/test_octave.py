"""The MATLAB functions of `examples/matlab`, run by GNU Octave: what they send, and images of it by a real server."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from live import TIMEOUT_S, running, wait_until
from rf_subscriber import subscriber
from server_process import UsertProcess

from usert.frame import Scan
from usert.runtime.bridges.shm_source import ShmConfig, ShmSource
from usert.runtime.bridges.tcp_source import TcpConfig, TcpSource
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.rf_message import RFMessage

EXAMPLES = Path(__file__).parents[3] / "examples" / "matlab"
OCTAVE_S = 120.0
IMAGES = 12
ANY = "tcp://127.0.0.1:0"
RF = Scan(fs_hz=40e6, f0_hz=6.4e6, sound_speed_m_s=1540, line_pitch_mm=0.3)
DECLARED = "scan = struct('fs_hz', 40e6, 'f0_hz', 6.4e6, 'sound_speed_m_s', 1540, 'line_pitch_mm', 0.3);"


def octave() -> str | None:
    """Octave with its package instrument-control."""
    program = shutil.which("octave-cli")
    if program is None:
        return None
    done = subprocess.run(
        [program, "-q", "--eval", "pkg load instrument-control"], capture_output=True, check=False
    )
    return program if done.returncode == 0 else None


OCTAVE = octave()
pytestmark = pytest.mark.skipif(OCTAVE is None, reason="no GNU Octave with its package instrument-control")


def run(script: str) -> str:
    """Run `script` to its end; what it printed."""
    return finish(start(script))


def start(script: str) -> subprocess.Popen[str]:
    words = [OCTAVE or "", "-q", "--norc", "--eval", f"addpath('{EXAMPLES}'); {script}"]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    out, errors = process.communicate(timeout=OCTAVE_S)
    assert process.returncode == 0, errors
    return out


@contextmanager
def bridge(way: str, folder: Path) -> Iterator[tuple[str, TcpSource | ShmSource]]:
    """A bridge, and the target that `usert_send` takes."""
    if way == "tcp":
        with running(TcpSource(TcpConfig(publish=ANY, port=0))) as source:
            yield f"tcp://{source.address}", source
    else:
        lines: list[str] = []
        with running(ShmSource(ShmConfig(path=folder / "rf", publish=ANY), lines.append)) as source:
            wait_until(lambda: bool(lines))  # it has looked for the file
            yield str(folder / "rf"), source


@pytest.mark.parametrize("way", ["tcp", "shm"])
def test_frames_are_those_of_octave(way: str, tmp_path: Path) -> None:
    """Rows, types, pairs of IQ, geometry, numbers and times of each kind of frame; sizes that change."""
    script = f"""
        {DECLARED}
        x = reshape(0:23, 6, 4) - 12;
        send = @(samples, scan) assert(usert_send(target, samples, scan));
        send(int16(x), scan); pause(0.25);
        send(single(x) / 8, scan); pause(0.25);
        send(x / 8, scan); pause(0.25);
        scan.demodulation_hz = 6e6; scan.fs_hz = 10e6; scan.stream = 'my IQ';
        send(single(complex(x, 2 * x)), scan); pause(0.25);
        scan.demodulation_hz = [0, 6e6; 5, 5.5e6]; scan.first_depth_mm = 2.5; scan.radius_mm = 60;
        scan.line_angle_deg = 1 / 3; scan.sequence = 100; scan.acquired_s = 1.7e9;
        send(complex(repmat(x, 40, 30), 0), scan); pause(0.25);
        printf('%.9f', time());
    """
    before_ns = time.time_ns()
    with bridge(way, tmp_path) as (target, source), subscriber(source.relay.sender.endpoint) as receive:
        assert source.relay.sender.wait_for_receiver(TIMEOUT_S)
        octave = start(f"target = '{target}'; {script}")
        got: list[RFMessage] = [receive() for _ in range(5)]
        after_ns = round(1e9 * float(finish(octave)))
        assert source.relay.faults.counts == {}
    x = np.arange(24).reshape(4, 6).T - 12
    frames = [message.frame for message in got]
    np.testing.assert_array_equal(frames[0].samples, x.astype(np.int16))
    for frame in frames[1:3]:
        np.testing.assert_array_equal(frame.samples, (x / 8).astype(np.float32))
    np.testing.assert_array_equal(frames[3].signal, (x + 2j * x).astype(np.complex64))
    np.testing.assert_array_equal(frames[4].signal, np.tile(x, (40, 30)).astype(np.complex64))
    assert [frame.samples.dtype for frame in frames] == [np.int16] + 4 * [np.float32]
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3, 100]
    assert [message.stream for message in got] == 3 * ["matlab"] + 2 * ["my IQ"]
    assert [frame.scan for frame in frames[:3]] == 3 * [RF]
    iq = {"fs_hz": 10e6, "f0_hz": 6.4e6, "sound_speed_m_s": 1540, "line_pitch_mm": 0.3}
    assert frames[3].scan == Scan(**iq, demodulation_hz=6e6)
    assert frames[4].scan == Scan(
        **iq, demodulation_hz=((0, 6e6), (5, 5.5e6)), first_depth_mm=2.5, radius_mm=60, line_angle_deg=1 / 3
    )
    assert frames[4].acquired_ns == 1_700_000_000_000_000_000
    for message in got[:4]:
        assert before_ns < message.frame.acquired_ns < after_ns
        assert 0 < message.frame.time_ns < time.monotonic_ns()
        assert message.clock == clock_id()


def test_without_a_bridge_nothing_is_sent_and_nothing_fails(tmp_path: Path) -> None:
    target = f"{tmp_path}/absent/rf"
    out = run(f"""{DECLARED}
        warning('off', 'usert_send:waiting');
        for target = {{'{target}', 'tcp://127.0.0.1:1'}}
            for k = 1:2, printf('%d', usert_send(target{{1}}, zeros(8, 4, 'int16'), scan)); end
        end
    """)
    assert out == "0000"


def test_a_file_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    """Its folder vanishes and comes back, while frames grow and tell of times long past; another one is full."""
    out = run(f"""{DECLARED}
        warning('off', 'usert_send:waiting');
        scan.acquired_s = 0;
        folder = '{tmp_path}/folder';
        send = @(rows) printf('%d', usert_send([folder '/rf'], zeros(rows, 4, 'int16'), scan));
        mkdir(folder); send(8);
        rename(folder, [folder '-moved']); send(4096); send(4096); pause(1.1); send(4096);
        mkdir(folder); pause(1.1); send(4096);
        for rows = [8, 4096], usert_send(); printf('%d', usert_send('/dev/full', zeros(rows, 4), scan)); end
    """)
    assert out == "1000100"


def test_a_bridge_that_was_killed_is_found_again() -> None:
    words = ("bridge", "tcp", "--publish", ANY)
    with UsertProcess(*words, "--port", "0") as first:
        port = first.wait_for(r"from TCP on 127.0.0.1:(\d+)")
        octave = start(f"""{DECLARED}
            warning('off', 'usert_send:waiting');
            states = '';
            begun = tic();
            while toc(begun) < {OCTAVE_S} && ~strcmp(states, '101')
                text = sprintf('%d', usert_send('tcp://127.0.0.1:{port}', zeros(8, 4, 'int16'), scan));
                if isempty(states) || states(end) ~= text, states = [states text]; end
                pause(0.02);
            end
            printf('%s', states);
        """)
        first.wait_for("(frames) of stream 'matlab'")
        first.kill()
    with UsertProcess(*words, "--port", port) as second:
        second.wait_for("(frames) of stream 'matlab'")
        assert finish(octave) == "101"


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("usert_send(target, int32(1), scan)", "got 2-dimensional int32, expected a matrix of int16"),
        ("usert_send(target, zeros(2, 2, 2), scan)", "got 3-dimensional"),
        ("usert_send(target, complex(1, 2), scan)", "expected scan.demodulation_hz"),
        ("usert_send(target, 1, rmfield(scan, 'fs_hz'))", "got a scan without fs_hz"),
        ("scan.stream = 'a\"b'; usert_send(target, 1, scan)", "expected letters, digits"),
    ],
)
def test_what_a_program_does_wrong_is_an_error(statement: str, told: str) -> None:
    out = run(f"{DECLARED} target = '/dev/null/x'; try, {statement}, catch e, printf('%s', e.message), end")
    assert told in out


def test_an_external_function_of_a_vantage(tmp_path: Path) -> None:
    """What is passed to it, and structures in the base workspace, as the system's example scripts have them."""
    script = f"""
        usert_target = '{tmp_path}/rf';
        Resource.Parameters.speedOfSound = 1540;
        Trans.frequency = 7.7;
        PData(1).PDelta = [1, 0, 0.5];
        PData(1).Origin = [-63.5, 0, 5];
        iq = reshape(1:24, 6, 4) + 1i;
        usert_external(iq); pause(0.25);
        usert_external(real(iq), imag(iq));
    """
    with (
        bridge("shm", tmp_path) as (_, source),
        subscriber(source.relay.sender.endpoint) as receive,
    ):
        assert source.relay.sender.wait_for_receiver(TIMEOUT_S)
        octave = start(script)
        got = [receive() for _ in range(2)]
        finish(octave)
    for message in got:
        np.testing.assert_array_equal(message.frame.signal, np.arange(1, 25).reshape(4, 6).T + 1j)
        scan = message.frame.scan
        assert message.stream == "verasonics"
        assert (scan.fs_hz, scan.f0_hz, scan.demodulation_hz) == (7.7e6, 7.7e6, 7.7e6)
        assert (scan.line_pitch_mm, scan.first_depth_mm) == pytest.approx((0.2, 1.0))
        assert scan.axial_pitch_mm == pytest.approx(0.1)


@pytest.mark.parametrize(("way", "kind"), [("tcp", "int16"), ("shm", "iq")])
def test_a_server_makes_images_of_the_demonstration(way: str, kind: str, tmp_path: Path) -> None:
    """Bridge, server and Octave as a user starts them; the speckle is pressed by a known amount."""
    rf, strain, path = f"ipc://{tmp_path}/rf", f"ipc://{tmp_path}/strain", str(tmp_path / "slots")
    where = ["tcp", "--port", "0"] if way == "tcp" else ["shm", path]
    with (
        UsertProcess("bridge", *where, "--publish", rf) as bridge_process,
        UsertProcess("serve", "--rf", rf, "--publish", strain, "--threads", "1") as server,
    ):
        if way == "tcp":
            path = "tcp://" + bridge_process.wait_for(r"from TCP on (\S+);")
        server.wait_for(r"strain on (\S+)")
        octave = start(f"usert_demo('{path}', Inf, 512, 64, '{kind}', 0.1);")
        try:
            with StrainClient(strain) as client:
                images = [client.receive(OCTAVE_S) for _ in range(IMAGES)]
        finally:
            octave.kill()
            octave.communicate()
        server.signal()
        _, said, _ = server.rest()
        bridge_process.signal()
        assert bridge_process.rest()[0] == 0
    assert "malformed 0" in said
    assert "failed 0" in said
    strains = [abs(image.readable_strain or 0) for image in images if image is not None]
    assert len(strains) == IMAGES
    assert 0.0005 < max(strains) < 0.03
    newest = images[-1]
    assert newest is not None
    assert newest.shape == (512, 64)
    assert newest.source_clock == newest.server_clock == clock_id()
