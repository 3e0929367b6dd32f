"""An archive that is killed: does it go on, and end with the same files?

    python benchmarks/archive.py [--recordings 50] [--frames 11] [--shape 512x128] [--folder DIR] [-- OPTION …]

Recordings of the simulated scanner, in two folders, through `usert run FOLDER`, each process on one thread: unbroken;
ended by SIGKILL when half of the results are there, and the same command again; and over Ray with two workers, unbroken
and with one of them ended by SIGKILL while it writes a result. Asserts that each ends with the files of the unbroken
run, byte for byte, and with nothing beside them. Linux, since it finds who writes by `/proc`. Further options go to
each `usert run`. Prints a Markdown table; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tables import markdown

from usert.errors import UsertError
from usert.machine import cpu_name
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.recording import write_recording

_PATIENCE_S = 600.0
_TOLD = re.compile(r"(\d+) recordings? in .*: (.*)")


class Archive:
    """A folder of recordings, and runs over it that are held against the first."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self.folder = folder
        self.arguments = arguments
        self.expected: dict[str, str] = {}

    def fill(self, recordings: int, frames: int, shape: tuple[int, int]) -> None:
        for k in range(recordings):
            path = self.folder / "in" / f"day{k % 2}" / f"r{k:03d}.h5"
            path.parent.mkdir(parents=True, exist_ok=True)
            scanner = SimulatedScanner(ScannerConfig(shape=shape), k)
            write_recording(path, (scanner.frame(at) for at in range(frames)))

    @contextmanager
    def start(self, out: str, *words: str) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "usert", "run", str(self.folder / "in"), "--threads", "1"]
        command += ["--out", str(self.folder / out), *self.arguments, *words]
        environment = os.environ | {"RAY_worker_niceness": "0"}  # 15 by default: last on a busy machine
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            yield process

    def end(self, process: subprocess.Popen[str], out: str, began_s: float, what: str) -> dict[str, Any]:
        """A row, once the run has ended in good order and its files are the expected ones."""
        told, errors = process.communicate(timeout=_PATIENCE_S)
        assert (process.returncode, errors) == (0, ""), f"{what}: {process.returncode}, {errors}"
        seconds = time.monotonic() - began_s
        found = files(self.folder / out)
        self.expected = self.expected or found
        assert found == self.expected, f"{what}: {sorted(set(found.items()) ^ set(self.expected.items()))}"
        ended = _TOLD.fullmatch(told.splitlines()[-1])
        assert ended is not None, told
        return {"run": what, "s": seconds, "told": ended[2], "files": len(found), "as unbroken": True}

    def unbroken(self, what: str, out: str, *words: str) -> dict[str, Any]:
        began_s = time.monotonic()
        with self.start(out, *words) as process:
            return self.end(process, out, began_s, what)

    def killed(self, out: str) -> list[dict[str, Any]]:
        """The run that is ended in the middle, and the one that goes on."""
        began_s = time.monotonic()
        with self.start(out) as process:
            assert self.writer_in_the_middle(process, out) == process.pid
            process.kill()
        seconds, done = time.monotonic() - began_s, len(self.results(out))
        told = f"{done} done, {len(files(self.folder / out)) - done} half-written"
        row = {"run": "killed in the middle", "s": seconds, "told": told, "files": done, "as unbroken": ""}
        return [row, self.unbroken("the same command again", out)]

    def worker_killed(self, out: str) -> dict[str, Any]:
        began_s = time.monotonic()
        with self.start(out, "--ray", "local", "--workers", "2") as process:
            worker = self.writer_in_the_middle(process, out)
            assert worker != process.pid
            os.kill(worker, signal.SIGKILL)
            return self.end(process, out, began_s, "over Ray, two workers, one killed in the middle")

    def writer_in_the_middle(self, process: subprocess.Popen[str], out: str) -> int:
        """A process that writes a result, once half of them are there."""
        half = sum(name.endswith(".h5") for name in self.expected) // 2
        while len(self.results(out)) < half or not (found := writers(self.folder / out)):
            assert process.poll() is None, process.communicate()
            time.sleep(5e-3)
        return found[0]

    def results(self, out: str) -> list[Path]:
        return list((self.folder / out).rglob("*.h5"))


def files(folder: Path) -> dict[str, str]:
    """Every file beneath, by a hash of its bytes."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


def writers(folder: Path) -> list[int]:
    """Processes that have a half-written file beneath `folder` open."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                opened = [Path(os.readlink(link)) for link in (process / "fd").iterdir()]
            except OSError:
                continue  # it has ended meanwhile
            if any(path.is_relative_to(folder) and path.suffix == ".part" for path in opened):
                found.append(int(process.name))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--recordings", type=int, default=50)
    parser.add_argument("--frames", type=int, default=11, help="of each recording")
    parser.add_argument("--shape", default="512x128")
    parser.add_argument("--folder", type=Path, help="for all files; a temporary one if not given")
    parser.add_argument("run", nargs="*", help="options of usert run, after --")
    options = parser.parse_args()
    n, m = map(int, options.shape.split("x"))
    try:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            archive = Archive(Path(folder).resolve(), options.run)
            archive.fill(options.recordings, options.frames, (n, m))
            rows = [archive.unbroken("unbroken", "whole"), *archive.killed("killed")]
            rows.append(archive.unbroken("over Ray, two workers", "ray", "--ray", "local", "--workers", "2"))
            rows.append(archive.worker_killed("worker"))
    except UsertError as error:
        sys.exit(f"archive: {error}")
    print(markdown(rows))
    cores = len(os.sched_getaffinity(0))
    print(json.dumps({"benchmark": "archive", "machine": cpu_name(), "cores": cores, "runs": rows}))


if __name__ == "__main__":
    main()
