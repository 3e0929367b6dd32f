"""Faults of a server that records: it is killed, without and with a spare; its disk is full; its disk refuses.

Knows records from outside, as files that grow. Invariant: frames on record and frames missing, by the record's own
account, are together those that the server received.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from live_server import LiveServer
from observer import SeenImage
from stage import OPTIONS, Stage

from usert.errors import RecordingError
from usert.runtime.protocol.age import now_ns
from usert.runtime.record.contents import Record
from usert.runtime.record.recorder import RESERVE_BYTES

_FAULT_S = 5.0
_DISK_MB = 512
_ANY_SIZE = resource.RLIM_INFINITY, resource.RLIM_INFINITY


def server_killed() -> dict[str, Any]:
    """`kill -9`, and started again at the same endpoints; scanner and viewer only wait."""
    with tempfile.TemporaryDirectory() as folder:
        path, second = Path(folder) / "one.h5", Path(folder) / "two.h5"
        with Stage(["--record", str(path)]) as stage:
            old = stage.server
            old.kill()
            last = stage.viewer.rest(1.0)[-1]
            since = now_ns()
            again = LiveServer([*OPTIONS, "--record", str(second)], rf=old.rf, publish=old.publish)
            stage.server = stage.add(again)
            ms = stage.again(since)
            stage.steady()
            row = {"fault": "server killed, restarted", "live again (ms)": ms} | stage.close_books(
                (), sessions=1
            )
        row["notes"] = f"of which start {1e3 * stage.server.start_s:.0f} ms"
        return row | {"record": readable(path, last)}


def server_replaced() -> dict[str, Any]:
    """`kill -9`, with `--standby`: the spare takes over."""
    with tempfile.TemporaryDirectory() as folder:
        ends = {name: f"tcp://127.0.0.1:{free_port()}" for name in ("rf", "publish")}
        with Stage(["--standby", "--record", folder], **ends) as stage:
            spare = stage.server.logged(r"process (\d+) is ready to take over")
            serving = stage.server.logged(r"process (\d+) serves")
            time.sleep(_FAULT_S)
            last = stage.viewer.seen[-1]
            since = now_ns()
            os.kill(int(serving), signal.SIGKILL)
            ms = stage.again(since, lambda image: image.counters["published"] < last.counters["published"])
            assert stage.server.logged(r"process (\d+) serves") == spare
            stage.steady()
            row = {"fault": "server killed, --standby", "live again (ms)": ms}
            row |= stage.close_books((), sessions=1)
        first = min(Path(folder).glob("*.h5"), key=lambda path: path.name)
        return row | {"record": readable(first, last)}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def readable(path: Path, last: SeenImage) -> str:
    """Whether all that was published is on record, but for what was in work when the server was killed."""
    with Record(path) as record:
        sequences, images = record.frames["sequence"], record.images
        whole = [record.frame(int(sequence)) is not None for sequence in sequences]
        strain = [bool(np.isfinite(record.array("strain", k)).all()) for k in range(len(images))]
    assert np.array_equal(sequences, np.arange(len(sequences))), "frames are missing"
    assert np.array_equal(images["published"], 1 + np.arange(len(images))), "images are missing"
    missing = last.counters["published"] - len(images)
    assert all(whole)
    assert all(strain)
    assert missing <= 3, f"{missing} images were seen and are not on record"
    return f"readable: {len(sequences)} frames, {len(images)} images, {max(missing, 0)} of those seen are missing"


def disk_full() -> dict[str, Any]:
    """Other files fill it up to what the recorder leaves free, for 5 s."""
    with tempfile.TemporaryDirectory() as folder, small_disk(folder) as mounted:
        if not mounted:
            return {"fault": "disk full 5 s", "right": "skipped", "notes": "cannot mount a file system"}
        path, ballast = Path(folder) / "r.h5", Path(folder) / "ballast"
        with Stage(["--record", str(path)]) as stage:
            begin = len(stage.viewer.seen)
            free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
            with ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, free - RESERVE_BYTES)
            since = stage.pause(_FAULT_S)
            ballast.unlink()
            return finish(stage, "disk full 5 s", path, begin, since)


def disk_refuses() -> dict[str, Any]:
    """Every write, for 5 s: the process may not write beyond what the file has."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.h5"
        with Stage(["--record", str(path)]) as stage:
            begin = len(stage.viewer.seen)
            limit = path.stat().st_size, resource.RLIM_INFINITY
            resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE, limit)
            since = stage.pause(_FAULT_S)
            resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE, _ANY_SIZE)
            return finish(stage, "disk refuses 5 s", path, begin, since)


def finish(stage: Stage, fault: str, path: Path, begin: int, since_ns: int) -> dict[str, Any]:
    """Images must have come all the time, and the record must go on, and know what it lacks."""
    ms = stage.again(since_ns)
    deadline = time.monotonic() + 30
    while not (recorded := newest(path, since_ns)):
        assert time.monotonic() < deadline, "the record does not go on"
        time.sleep(5e-3)
    stage.steady()
    seen = stage.viewer.seen[begin:]
    row: dict[str, Any] = {"fault": fault, "live again (ms)": ms}
    row |= stage.close_books((stage.source,), sessions=1)
    said = stage.server.line(r"record: (\d+) frames and (\d+) images.*missing (\d+).*?frames, (\d+)")
    kept, images, lacking, without = map(int, said.groups())
    gap_ms = max(b.arrived_ns - a.arrived_ns for a, b in pairwise(seen)) / 1e6
    rows, gaps = on_record(path)
    received = int(re.findall(r"received (\d+)", row["counters"])[0])
    if not (kept == rows and lacking == gaps and kept + lacking == received):
        row["right"] = f"record: {kept} and {lacking} missing, on file {rows} and {gaps}, of {received}"
    row["record"] = (
        f"goes on after {recorded:.0f} ms; {kept} frames and {images} images, {lacking} and {without} missing"
    )
    return row | {"notes": f"images at most {gap_ms:.0f} ms apart"}


def newest(path: Path, since_ns: int) -> float:
    """Milliseconds after `since_ns` that the first frame received then was found on file; 0 while there is none."""
    for part in parts(path):
        try:
            with Record(part) as record:
                if len(record.frames) and record.frames["received_ns"][-1] > since_ns:
                    return (now_ns() - since_ns) / 1e6
        except RecordingError:  # being made
            continue
    return 0.0


def on_record(path: Path) -> tuple[int, int]:
    """Frames, and frames missing, by the record's own account."""
    rows = gaps = 0
    for part in parts(path):
        with Record(part) as record:
            rows += len(record.frames)
            gaps += int(record.gaps["count"][record.gaps["what"] == b"frame"].sum())
    return rows, gaps


def parts(path: Path) -> list[Path]:
    return sorted(
        path.parent.glob(f"{path.stem}*{path.suffix}"), key=lambda part: (len(part.name), part.name)
    )


@contextmanager
def small_disk(folder: str) -> Iterator[bool]:
    """A file system of `_DISK_MB` in memory at `folder`; whether it could be mounted."""
    size = f"size={_DISK_MB}m"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], capture_output=True, check=False
    )
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", folder], check=True)
