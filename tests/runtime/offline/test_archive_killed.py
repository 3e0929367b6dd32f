"""`usert run` on a folder, killed in the middle: the same command goes on from there, to the same bytes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_command import hashes, usert, write_noise

from usert.bundle import Bundle


@pytest.fixture(scope="module")
def slow(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recordings `in` that take long enough to be killed in, and what comes `out` of them."""
    folder = tmp_path_factory.mktemp("slow")
    for seed in range(4):
        write_noise(folder / "in" / f"r{seed}.h5", seed, frames=400)
    words = ("--bundle", bundle.folder, "--threads", "2", "--at-once", "1")
    assert usert("run", folder / "in", "--out", folder / "out", *words).returncode == 0
    return folder


@pytest.mark.parametrize(
    ("number", "at_once"),
    [(signal.SIGKILL, "1"), (signal.SIGKILL, "2"), (signal.SIGTERM, "2"), (signal.SIGINT, "1")],
)
def test_killed_in_the_middle_it_goes_on(
    slow: Path, bundle: Bundle, tmp_path: Path, number: signal.Signals, at_once: str
) -> None:
    folder, out = slow / "in", tmp_path / "out"
    words = ["--bundle", str(bundle.folder), "--threads", "2", "--at-once", at_once]
    command = [sys.executable, "-m", "usert", "run", str(folder), "--out", str(out), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (out / "r1.h5.part").exists() and process.poll() is None:
            time.sleep(1e-3)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert (out / "r0.h5").exists()
    assert not (out / "r3.h5").exists()
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 130
        assert re.fullmatch(
            r"usert: stopped after [12] of 4 recordings; the same command goes on from there\n", errors
        )
        assert not list(out.glob("*.part"))
    again = usert("run", folder, "--out", out, *words)
    assert (again.returncode, again.stderr) == (0, "")
    assert re.search(r": [23] done, [12] kept$", again.stdout.strip())
    assert hashes(out) == hashes(slow / "out")
