"""The senders of `examples/senders`, those in C and C++ compiled without a warning: bytes, drops, keys, images."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from compilers import compiler
from live import SCAN, TIMEOUT_S, wait_until
from rf_listener import rf_listener
from secured_publisher import KeyRing
from server_process import ServerProcess

from usert.frame import Scan
from usert.runtime.clients.frame_sender import FrameSender
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.protocol.age import clock_id
from usert.runtime.protocol.rf_message import RFMessage

SENDERS = Path(__file__).parents[3] / "examples" / "senders"
SUPPORT = Path(__file__).parents[1] / "support" / "senders"
STRICT = ("-O1", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror")
IQ = replace(SCAN, fs_hz=10e6, demodulation_hz=6.5e6)
CURVED = replace(SCAN, line_angle_deg=0.4, radius_mm=60.0, first_depth_mm=2.5)
PHASED = replace(IQ, line_angle_deg=1 / 3, radius_mm=0.0)
ODD = Scan(
    fs_hz=31.25e6, f0_hz=7.1e6 / 1.1, sound_speed_m_s=1480.3, line_pitch_mm=0.1 + 0.2, first_depth_mm=1e-5
)
LONG_THEN_SHORT = replace(SCAN, fs_hz=31250000.25, f0_hz=6.4e6, line_pitch_mm=1.2345)
SPECIFIC = {"c": (SENDERS / "c" / "usert_sender.c",), "cpp": ("-std=c++17",)}
"""Words of the command of each compiler."""
Program = tuple[str | Path, ...]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path], Program]:
    """Compiles a program of a language, once, from its folder and name."""

    @cache
    def program(language: str, source: Path) -> Program:
        out = tmp_path_factory.mktemp(language) / "program"
        command = [compiler(language), "-o", out, *STRICT, f"-I{SENDERS / language}", *SPECIFIC[language]]
        command += [f"{source}.{language}", "-lzmq", "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return (out,)

    return program


@pytest.fixture(params=["python", *SPECIFIC])
def speckle(request: pytest.FixtureRequest, compiled: Callable[[str, Path], Program]) -> Program:
    """The command of the example of each language."""
    source = SENDERS / request.param / "speckle"
    if request.param == "python":
        return (sys.executable, f"{source}.py")
    return compiled(request.param, source)


@pytest.fixture(params=list(SPECIFIC))
def one_frame(request: pytest.FixtureRequest, compiled: Callable[[str, Path], Program]) -> Program:
    """The command of a program that sends one frame of which everything is told."""
    return compiled(request.param, SUPPORT / "one_frame")


@contextmanager
def subscriber(endpoint: str, **options: int) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger, socket.rcvtimeo = 0, round(1e3 * TIMEOUT_S)
        for name, value in options.items():
            setattr(socket, name, value)
        socket.subscribe(b"")
        socket.connect(endpoint)
        yield socket


@contextmanager
def running(*words: Any) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(*words: Any) -> tuple[int, str, str]:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("scan", [SCAN, IQ, CURVED, PHASED, ODD, LONG_THEN_SHORT])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_the_bytes_are_those_of_the_sender_in_python(
    one_frame: Program, tmp_path: Path, scan: Scan, dtype: str
) -> None:
    stream, clock = 'Ä "quoted" \\ 超音波 🩻', "c/1"
    stamps = (2**53 + 1, 123456789, 1_700_000_000_000_000_000)
    shape = (12, 5) if scan.kind == "rf" else (12, 5, 2)
    samples = np.arange(4096, dtype=np.int16).view(dtype)[: np.prod(shape)].reshape(shape)
    values = ("fs_hz", "f0_hz", "sound_speed_m_s", "line_pitch_mm", "demodulation_hz")
    geometry = (*values, "line_angle_deg", "radius_mm", "first_depth_mm")
    numbers = [repr(getattr(scan, name) or 0.0) for name in geometry]
    theirs, ours = f"ipc://{tmp_path}/theirs", f"ipc://{tmp_path}/ours"
    with subscriber(theirs) as socket:
        command = (*one_frame, theirs, stream, clock, dtype, 12, 5, *stamps, *numbers)
        assert ended(*command) == (0, "", "")
        received = socket.recv_multipart()
    with FrameSender(ours, scan, stream=stream, clock=clock) as sender, subscriber(ours) as socket:
        assert sender.wait_for_receiver(TIMEOUT_S)
        sender.send(samples, sequence=stamps[0], time_ns=stamps[1], acquired_ns=stamps[2])
        assert received == socket.recv_multipart()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({2: "a\nb"}, "stream: expected UTF-8"),
        ({2: "x" * 257}, "stream: expected UTF-8 of at most 256 characters"),
        ({2: b"\xc0\x80"}, "stream: expected UTF-8"),
        ({2: b"\xed\xa0\x80"}, "stream: expected UTF-8"),
        ({2: b"\xf0\x9f"}, "stream: expected UTF-8"),
        ({2: "\u2028"}, "stream: expected UTF-8"),
        ({3: "\x7f"}, "clock: expected UTF-8"),
        ({1: "tcp://0.0.0.0:5555"}, "tcp://0.0.0.0:5555: other machines can reach it"),
        ({1: "tcp://127.example.org:5555"}, "tcp://127.example.org:5555: other machines can reach it"),
        (
            {1: "tcp://127.0.0.1:0;10.0.0.5:5555"},
            "tcp://127.0.0.1:0;10.0.0.5:5555: other machines can reach it",
        ),
        ({5: 0}, "frame: expected samples, rows 1 to 32768"),
        ({5: 32768, 6: 513}, "rows x lines at most 2^24"),
        ({7: -1}, "frame: expected a sequence and times of 0 or more"),
        ({10: 0}, "fs_hz: expected a finite number above 0"),
        ({11: "nan"}, "f0_hz: expected a finite number above 0"),
        ({16: 60}, "radius_mm: expected line_angle_deg with it"),
        ({17: -1}, "first_depth_mm: expected a finite number above 0"),
    ],
)
def test_what_no_header_may_hold_is_one_line(
    one_frame: Program, tmp_path: Path, changed: dict[int, Any], told: str
) -> None:
    words: list[Any] = [*one_frame, f"ipc://{tmp_path}/rf", "probe", "c1", "int16", 4, 3, 0, 0, 0]
    words += [40e6, 7e6, 1540, 0.3, 0, 0, 0, 0]
    for place, value in changed.items():
        words[place] = value
    with subscriber(f"ipc://{tmp_path}/rf"):
        done = subprocess.run(
            [word if isinstance(word, bytes) else str(word) for word in words],
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 1
    assert told in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("words", [(), ("--iq", "--float32")])
def test_a_live_server_makes_images_of_its_speckle(
    speckle: Program, tmp_path: Path, words: tuple[str, ...]
) -> None:
    rf, strain = f"ipc://{tmp_path}/rf", f"ipc://{tmp_path}/strain"
    # frames that are small, and an engine that compiles nothing for their shape
    small, quick = ("--size", "256x32", "--rate", "15"), ("--engine", "onnxruntime", "--threads", "1")
    with (
        running(*speckle, rf, *small, *words, "--stream", "probe"),
        ServerProcess("--rf", rf, "--publish", strain, *quick) as server,
        StrainClient(strain) as client,
    ):
        server.wait_for(r"strain on (\S+)")
        images = [client.receive(120) for _ in range(20)]
        server.signal()
        code, rest, told = server.rest()
    assert code == 0
    assert f"session 1: 'probe', 256 x 32 {'float32' if words else 'int16'}" in told
    assert "malformed 0" in rest
    assert max(abs(image.mean_strain) for image in images if image is not None) > 0.002
    assert client.age is not None
    assert client.age.exact


def test_frames_are_stamped_and_received_again_after_a_restart_of_the_receiver(
    speckle: Program, tmp_path: Path
) -> None:
    rf = f"ipc://{tmp_path}/rf"
    newest = -1
    with running(*speckle, rf, "--size", "64x8", "--rate", "200"):
        for _ in range(3):
            with subscriber(rf) as socket:
                messages = [RFMessage.from_parts(socket.recv_multipart()) for _ in range(10)]
            frames = [message.frame for message in messages]
            assert {message.clock for message in messages} == {clock_id()}
            assert [frame.sequence - frames[0].sequence for frame in frames] == list(range(10))
            assert frames[0].sequence > newest
            times = [frame.time_ns for frame in frames]
            assert times == sorted(times)
            newest = frames[-1].sequence


def counts(said: str) -> tuple[int, int]:
    (found,) = re.findall(r"(\d+) sent, (\d+) dropped", said)
    return int(found[0]), int(found[1])


def test_frames_that_nobody_receives_are_dropped_and_counted(speckle: Program, tmp_path: Path) -> None:
    words = ("--size", "64x8", "--rate", "1000", "--count", "50")
    code, said, _ = ended(*speckle, f"ipc://{tmp_path}/rf", *words)
    assert (code, counts(said)) == (0, (0, 50))


def test_a_receiver_that_stalls_costs_frames_and_no_time(speckle: Program, tmp_path: Path) -> None:
    rf = f"ipc://{tmp_path}/rf"
    words = ("--size", "1024x512", "--float32", "--rate", "1000", "--count", "60")
    with subscriber(rf, rcvhwm=1):
        code, said, _ = ended(*speckle, rf, *words)
    sent, dropped = counts(said)
    assert (code, sent + dropped) == (0, 60)
    assert dropped > 30


def test_a_key_that_is_allowed_later_is_let_in_later(speckle: Program, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    with rf_listener(ring.server(), kind="sub") as receiver:
        keys = ("--connect", "--key", ring.secret("scanner"), "--server-key", ring.public("server"))
        lost = ("--connect", "--key", ring.secret("scanner"), "--server-key", ring.public("elsewhere"))
        small = (*speckle, receiver.endpoint, "--size", "64x8", "--rate", "100", "--count")
        assert counts(ended(*small, "30", *keys)[1]) == (0, 30)
        with (
            running(*small, "-1", *keys, "--stream", "known"),
            running(*small, "-1", *lost, "--stream", "lost"),
        ):
            denied = receiver.denied.total
            wait_until(lambda: receiver.denied.total > denied)
            ring.allow("scanner")
            receiver.wait_for("known", 10)
        assert set(receiver.received) == {"known"}


@pytest.mark.parametrize("speckle", list(SPECIFIC), indirect=True)
def test_keys_that_cannot_be_used_are_one_line(speckle: Program, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    secret, public = ring.secret("scanner"), ring.public("server")
    for words, told in (
        (("--key", secret, "--server-key", public), "keys: expected key, server_key and connect"),
        (("--connect", "--key", secret), "keys: expected key, server_key and connect"),
        (("--connect", "--key", public, "--server-key", public), "expected your NAME.key_secret"),
        (("--connect", "--key", "absent", "--server-key", public), "absent: "),
    ):
        code, _, errors = ended(*speckle, "tcp://127.0.0.1:5555", "--count", "1", *words)
        assert (code, errors.count("\n")) == (1, 1)
        assert told in errors
