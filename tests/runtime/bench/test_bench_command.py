"""`usert bench` as a user meets it: a table, files, one line of JSON at the end, one line for what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from live import TIMEOUT_S, wait_until
from PIL import Image

from usert.bundle import Bundle

WAIT_S = 6 * TIMEOUT_S


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "usert", "bench", "--engine", "onnxruntime", "--threads", "1", *words]


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_run_ends_in_files_and_one_line_of_json(bundle: Bundle, tmp_path: Path) -> None:
    files = {name: tmp_path / f"bench.{name}" for name in ("json", "csv", "png")}
    words = ["--bundle", str(bundle.folder), "--shape", "64x32", "--seconds", ".1", "--rounds", "2"]
    words += ["--json", str(files["json"]), "--csv", str(files["csv"]), "--plot", str(files["png"])]
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert json.loads(lines[-1]) == json.loads(files["json"].read_text(encoding="utf-8"))
    assert any(line.startswith("shape") and "p99.9" in line and "strain rms %" in line for line in lines)
    assert len(files["csv"].read_text(encoding="utf-8").splitlines()) == 2
    with Image.open(files["png"]) as picture:
        assert min(picture.size) > 100
    told = done.stderr.splitlines()
    assert told
    assert [line for line in told if not line.startswith("bench: ")] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shape", "sixty"), "--shape: got 'sixty'"),
        (("--json", "/nowhere/a.json"), "--json: got /nowhere/a.json"),
        (("--json", "same", "--csv", "./same"), "--csv: got same, as --json, expected another file"),
        (("--bundle", "absent"), "no such folder"),
        (("--every-frame",), "--every-frame: got no --rate"),
        (("--critical-rate", "--rate", "5"), "--critical-rate: expected none of --rate"),
        (("--gpu-peak", "much"), "--gpu-peak: got 'much'"),
    ],
)
def test_what_is_wrong_is_one_line(words: tuple[str, ...], message: str) -> None:
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("usert: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_a_source_that_is_missing_is_one_clear_line(bundle: Bundle) -> None:
    words = ["--bundle", str(bundle.folder), "--wire", "--rf", "tcp://127.0.0.1:9"]
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("usert: source tcp://127.0.0.1:9: got no frame in")


@pytest.mark.skipif(os.name != "posix", reason="process groups")
@pytest.mark.parametrize("mode", [(), ("--critical-rate",)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_line_and_leaves_nothing(
    bundle: Bundle, number: signal.Signals, mode: tuple[str, ...]
) -> None:
    words = ["--bundle", str(bundle.folder), "--shape", "64x32", "--seconds", "600", "--rounds", "600", *mode]
    with subprocess.Popen(
        command(*words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if "round 1" in line:
                    break
            process.send_signal(number)
            out, errors = process.communicate(timeout=WAIT_S)
        finally:
            process.kill()
    assert process.returncode == 130
    assert out == ""
    assert errors.splitlines()[-1] == "usert: stopped, nothing was written"
    wait_until(lambda: not group_lives(process.pid))  # Python's own resource tracker ends a moment later
