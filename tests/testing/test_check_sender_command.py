"""`usert check-sender` and `pytest --pyargs usert.testing` before running senders, right and wrong ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.clients.frame_sender import FrameSender
from usert.runtime.transport.keys import make_keys
from usert.testing.listen import ListenConfig, SenderListener

ANY = "tcp://127.0.0.1:0"
HERE = Path(__file__).parent
FRAMES = [SimulatedScanner(ScannerConfig(shape=(256, 32)), seed=1).frame(k) for k in range(6, 10)]


@contextmanager
def sending(program: str, *arguments: str) -> Iterator[str]:
    """A sender in a process of its own; yields its endpoint, the last word of its first line but for a comma."""
    command = [sys.executable, *program.split(), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield next(word for word in process.stdout.readline().split() if word.startswith("tcp://"))
        finally:
            process.kill()


def check_sender(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "usert", "check-sender", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def conformance(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The suite as a maker runs it, outside this repository."""
    command = [sys.executable, "-m", "pytest", "-p", "usert.testing.plugin", "-p", "no:cacheprovider", "-rs"]
    return subprocess.run(
        [*command, "--pyargs", "usert.testing", *words], capture_output=True, text=True, check=False, cwd=cwd
    )


def test_five_faults_of_a_sender_are_each_named(tmp_path: Path) -> None:
    with sending(str(HERE / "wrong_sender.py"), ANY) as endpoint:
        table = check_sender("--rf", endpoint, "--frames", "80")
        done = check_sender("--rf", endpoint, "--frames", "80", "--json")
        suite = conformance("--usert-rf", endpoint, "--usert-frames", "80", cwd=tmp_path)
    assert (table.returncode, table.stderr) == (1, "")
    report = json.loads(done.stdout)
    found = {check["name"]: check["found"] for check in report["checks"] if check["verdict"] == "FAILED"}
    assert found.keys() == {"sessions", "signal", "sequence", "clock", "time_ns", "acquired_ns"}
    for name, line in {
        "signal": "bytes in the other order",
        "sequence": " missing, ",
        "clock": "expected one name",
        "time_ns": "got microseconds",
        "acquired_ns": "looks like milliseconds",
    }.items():
        assert line in found[name]
        assert line in table.stdout
        assert line in suite.stdout
    assert all(check["remedy"] for check in report["checks"] if check["verdict"] == "FAILED")
    assert (report["passed"], report["messages"], suite.returncode) == (False, 80, 1)
    assert "6 failed" in suite.stdout


def test_a_good_sender_passes(tmp_path: Path) -> None:
    with sending("-m usert replay --simulate --publish", ANY, "--rate", "40") as endpoint:
        done = check_sender("--rf", endpoint, "--frames", "20", "--json")
        suite = conformance("--usert-rf", endpoint, "--usert-frames", "20", cwd=tmp_path)
    found = {check["name"]: check["verdict"] for check in json.loads(done.stdout)["checks"]}
    for name in ("message", "header", "geometry", "samples", "values", "signal", "sequence", "clock"):
        assert found[name] == "passed"  # paces and ages are this machine's
    assert "test_sender[header]" not in suite.stdout
    assert "usert.testing" not in suite.stderr


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--rf", "tcp://127.0.0.1:9", "--seconds", "0.3"), "got no message in 0.3 s, expected frames"),
        (("--rf", ANY, "--rf-bind", "--seconds", "0.3"), "is a PUB socket connected to it"),
        (("--rf", "tcp://10.0.0.7:5555"), "--insecure"),
        (("--rf", ANY, "--seconds", "0"), "--seconds: got 0"),
        (("--rf", ANY, "--frames", "1"), "--frames: got 1"),
        (("--rf", ANY, "--rf-type", "dish"), "--rf-type: got 'dish', expected sub or pull"),
        (("--rf", ANY, "--key", "k"), "--server-key"),
    ],
)
def test_what_cannot_be_checked_is_one_line(words: tuple[str, ...], line: str) -> None:
    done = check_sender(*words)
    assert (done.returncode, done.stdout) == (1, "")
    (told,) = done.stderr.splitlines()
    assert line in told


def test_a_sender_that_is_there_and_sends_nothing_is_told_from_none() -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.bind(ANY)
        done = check_sender("--rf", socket.get_string(zmq.LAST_ENDPOINT), "--seconds", "1")
    assert "a socket is there and sends nothing" in done.stderr


def test_a_sender_that_pushes_to_a_listener_that_binds() -> None:
    listener = SenderListener(ListenConfig(rf=ANY, rf_type="pull", rf_bind=True, messages=3))
    with listener, FrameSender(listener.endpoint, socket_type="push", bind=False) as sender:
        for frame in FRAMES[:3]:
            assert sender.wait_for_receiver(20)
            assert sender.send(frame.samples, frame.scan)
        report = listener.run()
    assert report.messages == 3
    assert {check.verdict for check in report.checks if check.name in ("message", "header")} == {"passed"}


def test_a_sender_with_keys_is_checked_by_the_suite_too(tmp_path: Path) -> None:
    make_keys("scanner", tmp_path)
    make_keys("checker", tmp_path)
    (allowed := tmp_path / "allowed").mkdir()
    (tmp_path / "checker.key").rename(allowed / "checker.key")
    own = "--key", str(tmp_path / "scanner.key_secret"), "--allow", str(allowed)
    theirs = "--usert-key", "checker.key_secret", "--usert-server-key", "scanner.key", "--usert-frames", "20"
    with sending("-m usert replay --simulate --publish", ANY, "--rate", "40", *own) as endpoint:
        suite = conformance("--usert-rf", endpoint, *theirs, cwd=tmp_path)
    assert "test_sender[header]" not in suite.stdout, suite.stdout
    assert " passed" in suite.stdout
    assert "0 passed" not in suite.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--usert-key", "k"), "got --usert-key alone, expected --usert-key and --usert-server-key"),
        (("--usert-allow", "d"), "--usert-allow: got d for a socket that connects"),
        ((), "--insecure"),
    ],
)
def test_what_the_suite_cannot_check_is_one_line_too(
    tmp_path: Path, words: tuple[str, ...], line: str
) -> None:
    suite = conformance("--usert-rf", "tcp://10.0.0.7:5555", *words, cwd=tmp_path)
    assert suite.returncode == 1
    assert line in suite.stdout
    assert "Traceback" not in suite.stdout


def test_without_an_endpoint_the_suite_is_skipped(tmp_path: Path) -> None:
    suite = conformance(cwd=tmp_path)
    assert suite.returncode == 0
    assert "no --usert-rf" in suite.stdout


def test_the_command_needs_no_pytest() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None; from usert.testing.listen import SenderListener; "
        "import usert.commands.check_sender, usert.testing; print('done')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "done\n", done.stderr
