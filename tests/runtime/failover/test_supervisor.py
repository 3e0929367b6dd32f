"""`usert serve --standby`: a server dies, and the spare takes over; real processes, killed for real."""

from __future__ import annotations

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import zmq
from live import TIMEOUT_S, wait_until
from server_process import ended, sender

from usert.bundle import Bundle
from usert.errors import BUG, FAULT
from usert.frame import Scan
from usert.runtime.clients.strain_client import StrainClient
from usert.runtime.engines.interface import FrameFormat
from usert.runtime.failover.handover import Channel, Handover, frames_words
from usert.runtime.record.contents import Record


class Supervised:
    """`usert serve --standby …`; the lines that it and its servers print are kept."""

    def __init__(self, folder: Path, bundle: Bundle, *words: str | Path) -> None:
        self.rf, self.publish = f"ipc://{folder / 'rf'}", f"ipc://{folder / 'strain'}"
        self._command = [sys.executable, "-m", "usert", "serve", "--standby"]
        self._command += ["--rf", self.rf, "--rf-type", "pull", "--rf-bind", "--publish", self.publish]
        self._command += ["--bundle", str(bundle.folder), "--engine", "onnxruntime", "--threads", "1"]
        self._command += ["--lag", "1", *map(str, words)]
        self._unread: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.lines: list[str] = []

    def __enter__(self) -> Supervised:
        self.process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self._unread.put(line)

    def __exit__(self, *_: object) -> None:
        self.process.kill()  # and its servers end, for it is gone: else the reader would wait for them
        self.process.wait()
        self._reader.join()

    def wait_for(self, pattern: str) -> int:
        """The process that the first line with `pattern` names."""
        while True:
            self.lines.append(self._unread.get(timeout=TIMEOUT_S))
            if match := re.search(pattern, self.lines[-1]):
                return int(match[1]) if match.groups() else 0

    def serves(self) -> int:
        return self.wait_for(r"process (\d+) serves")

    def ready(self) -> int:
        return self.wait_for(r"process (\d+) is ready to take over")


def alive(pid: int) -> bool:
    """Whether it runs: neither gone nor a zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextmanager
def scanner(rf: str) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.linger = 0
        push.connect(rf)
        yield push


def test_the_spare_serves_the_same_clients_when_the_server_is_killed(tmp_path: Path, bundle: Bundle) -> None:
    records = tmp_path / "records"
    records.mkdir()
    with ExitStack() as stack:
        standby = stack.enter_context(Supervised(tmp_path, bundle, "--record", records))
        push = stack.enter_context(scanner(standby.rf))
        client = stack.enter_context(StrainClient(standby.publish))
        first = standby.serves()
        send = sender(push)

        def seen(published: int) -> bool:
            send()
            image = client.receive(0.002)
            return image is not None and image.counters.published >= published

        wait_until(lambda: seen(5))
        spare = standby.ready()
        assert alive(first)
        assert alive(spare)
        os.kill(first, signal.SIGKILL)
        assert standby.serves() == spare
        wait_until(lambda: client.receive(0) is None)
        wait_until(lambda: seen(1))
        third = standby.ready()
        assert third not in (first, spare)
        standby.process.send_signal(signal.SIGTERM)
        assert standby.process.wait(TIMEOUT_S) == 0
        wait_until(lambda: not alive(spare) and not alive(third))
    assert any("died by SIGKILL" in line for line in standby.lines)
    files = sorted(records.iterdir())
    assert len(files) == 2
    for file in files:
        with Record(file) as record:
            assert len(record.images) > 0


def test_the_spare_is_warm_for_the_shapes_that_the_server_has_met(tmp_path: Path, bundle: Bundle) -> None:
    with ExitStack() as stack:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "usert", "serve", "--rf", f"ipc://{tmp_path / 'rf'}"]
            command += ["--rf-type", "pull", "--rf-bind", "--publish", f"ipc://{tmp_path / 'strain'}"]
            command += [
                "--bundle",
                str(bundle.folder),
                "--engine",
                "onnxruntime",
                "--cue",
                str(theirs.fileno()),
            ]
            server = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdout=subprocess.DEVNULL)
        stack.callback(server.wait)
        stack.callback(server.kill)
        channel = Channel(ours)
        stack.callback(channel.close)
        assert channel.receive() == [["ready"]]
        assert not (tmp_path / "strain").exists()  # nothing is bound before it is told to serve
        channel.send("warm", "40x16")
        channel.send("serve")
        told = []
        while len(told) < 2:
            told += channel.receive() or []
        assert told == [["serving"], ["warm", "40x16"]]
        push = stack.enter_context(scanner(f"ipc://{tmp_path / 'rf'}"))
        sender(push)()
        assert channel.receive() == [["warm", "24x8"]]


def test_servers_end_when_their_supervisor_is_killed(tmp_path: Path, bundle: Bundle) -> None:
    with Supervised(tmp_path, bundle) as standby:
        first, spare = standby.serves(), standby.ready()
        standby.process.kill()
        wait_until(lambda: not alive(first) and not alive(spare))


def test_a_spare_that_dies_is_made_again_later_and_the_server_goes_on(tmp_path: Path, bundle: Bundle) -> None:
    with Supervised(tmp_path, bundle) as standby:
        first = standby.serves()
        os.kill(standby.ready(), signal.SIGKILL)
        standby.wait_for(r"spare process \d+ ended with code -9; another one starts in 10 s")
        assert alive(first)
        os.kill(first, signal.SIGKILL)  # there is no spare: another process is started, which takes longer
        assert alive(standby.serves())


def test_servers_that_die_one_after_the_other_are_given_up(tmp_path: Path, bundle: Bundle) -> None:
    with Supervised(tmp_path, bundle) as standby:
        for _ in range(5):
            os.kill(standby.serves(), signal.SIGKILL)
        assert standby.process.wait(TIMEOUT_S) == BUG
        standby.wait_for("5 servers died within 60 s, the last one by SIGKILL; giving up")


def test_a_fault_that_a_person_must_mend_ends_the_supervisor_alike(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "strain").write_text("not a socket")
    with Supervised(tmp_path, bundle) as standby:
        assert standby.process.wait(TIMEOUT_S) == FAULT
        standby.wait_for("got a file, expected a name that is free")
    assert len([line for line in standby.lines if line.startswith("usert:")]) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--publish", "tcp://127.0.0.1:0"], "--publish: got tcp://127.0.0.1:0, expected a fixed port"),
        (["--publish", "tcp://127.0.0.1:*"], "--publish: got tcp://127.0.0.1:*, expected a fixed port"),
        (
            ["--publish", "ipc://strain", "--monitor", "127.0.0.1:0"],
            "--monitor: got 127.0.0.1:0, expected a fixed port",
        ),
        (
            ["--publish", "ipc://strain", "--record", "r.h5"],
            "--record: got r.h5, expected a folder with --standby",
        ),
    ],
)
def test_what_two_processes_cannot_share_is_refused(words: list[str], expected: str) -> None:
    code, out, errors = ended("--standby", "--rf", "tcp://127.0.0.1:0", *words)
    assert (code, out, errors.count("\n")) == (FAULT, "", 1)
    assert expected in errors


def test_a_spare_goes_on_waiting_after_a_shape_that_the_engine_refuses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ours, theirs = socket.socketpair()
    handover = Handover(theirs.detach())
    channel = Channel(ours)
    channel.send("warm", "3x3")
    channel.send("warm", "40x16")
    iq = Scan(
        fs_hz=10e6,
        f0_hz=6.5e6,
        sound_speed_m_s=1540,
        line_pitch_mm=0.2,
        demodulation_hz=((0.0, 6.5e6), (90.0, 6e6)),
    )
    channel.send("warm", *frames_words(FrameFormat((40, 16), iq)))
    channel.send("serve")

    def warm_up(shape: tuple[int, int], scan: Scan | None) -> None:
        if shape == (3, 3):
            raise ValueError("too small")

    assert handover.wait(warm_up) == (FrameFormat((40, 16)), FrameFormat((40, 16), iq))
    assert "spare does not warm up for 3x3: too small" in caplog.text
    channel.close()
    assert handover.wait(warm_up) is None
    handover._channel.close()
