"""An archive over a real Ray, on this machine, with two workers: one killed, and a recording that kills each."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from usert.bundle import Bundle

SHAPE = (96, 24)
SCAN = {"fs_hz": 40e6, "f0_hz": 6.25e6, "sound_speed_m_s": 1540.0, "line_pitch_mm": 0.108}
FRAMES = 1500
PATIENCE_S = 300

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None or importlib.util.find_spec("pyarrow") is None,
    reason="Ray is not installed: pip install 'usert[ray]'",
)


def write(path: Path, seed: int, frames: int = FRAMES) -> None:
    with h5py.File(path, "w") as file:
        file["rf"] = np.random.default_rng(seed).integers(-900, 900, (frames, *SHAPE), dtype=np.int16)
        file.attrs.update(SCAN)


@pytest.fixture(autouse=True)
def _not_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's workers have a niceness of 15 by default, and come last on a busy machine."""
    monkeypatch.setenv("RAY_worker_niceness", "0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six recordings of about a second of work each."""
    day = tmp_path / "in" / "day"
    day.mkdir(parents=True)
    for seed in range(6):
        write(day / f"r{seed}.h5", seed)
    return day.parent


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def command(folder: Path, out: Path, bundle: Bundle, *words: str) -> list[str]:
    words = ("--bundle", str(bundle.folder), "--engine", "onnxruntime", "--threads", "1", *words)
    return [sys.executable, "-m", "usert", "run", str(folder), "--out", str(out), *words]


def writers(folder: Path) -> dict[int, Path]:
    """Processes that have a file beneath `folder` open that is not finished, and which."""
    found: dict[int, Path] = {}
    if not any(folder.rglob("*.part")):
        return found  # looking through all processes takes time from those who work
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            for link in (process / "fd").iterdir():
                target = Path(os.readlink(link))
                if target.is_relative_to(folder) and target.suffix == ".part":
                    found[int(process.name)] = target
        except OSError:
            continue  # it has ended meanwhile
    return found


def wait_for_writers(process: subprocess.Popen[str], out: Path, count: int) -> dict[int, Path]:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        if len(found := writers(out)) >= count:
            return found
        time.sleep(0.01)  # leave the core to those who are waited for
    raise AssertionError(f"no {count} workers at work: {process.communicate()}")


@needs_ray
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="finds the worker by Linux's /proc")
def test_a_killed_worker_costs_nothing_but_time(
    folder: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S", "0.3")  # less than a recording takes
    plain, out = tmp_path / "plain", tmp_path / "out"
    subprocess.run(command(folder, plain, bundle), check=True, capture_output=True)
    words = command(folder, out, bundle, "--ray", "local", "--workers", "2")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        (victim, unfinished), (other, _) = wait_for_writers(process, out, 2).items()
        assert victim != process.pid != other
        os.kill(victim, signal.SIGKILL)
        told, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert errors == ""
    assert told.splitlines()[-1] == f"6 recordings in {out}: 6 done"
    assert f"day/{unfinished.name.removesuffix('.part')}  {FRAMES - 1} pairs" in told
    assert hashes(out) == hashes(plain)


@needs_ray
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="finds the worker by Linux's /proc")
def test_stopped_over_ray_it_goes_on_without_ray(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = command(folder, out, bundle, "--ray", "local", "--workers", "2")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        workers = wait_for_writers(process, out, 2)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, errors
    assert re.fullmatch(
        r"usert: stopped after \d of 6 recordings; the same command goes on from there\n", errors
    )
    assert [path for path in out.rglob("*") if path.suffix == ".part"] == []
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and any(Path(f"/proc/{pid}").exists() for pid in workers):
        time.sleep(0.01)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    subprocess.run(command(folder, out, bundle), check=True, capture_output=True)
    subprocess.run(command(folder, tmp_path / "plain", bundle), check=True, capture_output=True)
    assert hashes(out) == hashes(tmp_path / "plain")


@needs_ray
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="finds the worker by Linux's /proc")
def test_a_recording_that_kills_every_worker_is_given_up(
    folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    write(folder / "day" / "r3.h5", 3, 10 * FRAMES)  # time enough to be found in
    out, killed = tmp_path / "out", set[int]()
    words = command(folder, out, bundle, "--ray", "local", "--workers", "2")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and process.poll() is None:
            for worker, file in writers(out).items():
                if file.name == "r3.h5.part" and worker not in killed:
                    os.kill(worker, signal.SIGKILL)
                    killed.add(worker)
            time.sleep(0.05)
        told, errors = process.communicate(timeout=PATIENCE_S)
    assert len(killed) == 4
    assert errors == (
        "usert: day/r3.h5: its worker died 4 times: too little memory, or a library that crashes on it\n"
    )
    assert told.splitlines()[-1] == f"6 recordings in {out}: 5 done, 1 failed"
    assert sorted(path.name for path in (out / "day").iterdir()) == [f"r{k}.h5" for k in (0, 1, 2, 4, 5)]
    assert process.returncode == 1


@needs_ray
@pytest.mark.slow
def test_what_does_not_work_is_a_line(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (folder / "day" / "broken.h5").write_bytes(b"no HDF5")
    words = command(folder, out, bundle, "--ray", "local", "--workers", "1", "--pairs", "0:1")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("usert: day/broken.h5: ")
    assert done.stdout.splitlines()[-1] == f"7 recordings in {out}: 6 done, 1 failed"
    words = command(folder, out, bundle, "--ray", "127.0.0.1:1", "--workers", "1")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("usert: --ray: got 127.0.0.1:1, where no Ray answers: ")
