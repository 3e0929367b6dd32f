"""A writer that is killed loses at most one frame; a growing file has one writer and any number of readers."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from usert.errors import RecordingError
from usert.frame import RFFrame
from usert.recording import Recording, RecordingWriter

Make = Callable[..., RFFrame]

WRITER = """
import sys
import numpy as np
from usert.frame import RFFrame, Scan
from usert.recording import RecordingWriter

scan = Scan(fs_hz=40e6, f0_hz=6.25e6, sound_speed_m_s=1540, line_pitch_mm=0.108)
with RecordingWriter(sys.argv[1], with_truth=True) as writer:
    while True:
        k = len(writer)
        samples = np.full((256, 64), k % 30000, np.int16)
        truth = np.full((2, 256, 64), k - 1, np.float32) if k else None
        writer.append(RFFrame(samples=samples, scan=scan, acquired_ns=k), truth)
        if k == 3:
            print("writing", flush=True)
"""


DYING_WRITER = """
import os
import signal
import sys
import usert.recording.writer

put = usert.recording.writer._put

def put_and_die(dataset, k, values):
    put(dataset, k, values)
    if (dataset.name, str(k)) == (sys.argv[2], sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

usert.recording.writer._put = put_and_die
"""


def start_writer(path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"writing\n"
    return process


def test_a_killed_writer_leaves_every_complete_frame_and_can_be_resumed(
    tmp_path: Path, make_frame: Make
) -> None:
    wait = random.Random(1)
    for trial in range(5):
        path = tmp_path / f"{trial}.h5"
        process = start_writer(path)
        time.sleep(wait.uniform(0, 0.1))  # die at no particular moment of an append
        process.kill()
        process.wait()
        with Recording(path) as recording:
            count = len(recording)
            assert count >= 4
            assert recording.acquired_ns.tolist() == list(range(count))
            for frame in recording:
                assert (frame.samples == frame.sequence % 30000).all()
            assert all((recording.truth(k) == k).all() for k in range(count - 1))
        with RecordingWriter(path, resume=True) as writer:
            assert len(writer) == count
            writer.append(make_frame(9, (256, 64)), np.ones((2, 256, 64), np.float32))
        with Recording(path) as recording:
            assert len(recording) == count + 1
            assert (recording.frame(count - 1).samples == (count - 1) % 30000).all()
            np.testing.assert_array_equal(recording.frame(count).samples, make_frame(9, (256, 64)).samples)
            assert (recording.truth(count - 1) == 1).all()


@pytest.mark.parametrize(
    ("last", "complete"), [("/rf 5", 5), ("/truth/displacement 4", 5), ("/acquired_ns 5", 6)]
)
def test_a_frame_counts_once_its_time_is_on_file(
    tmp_path: Path, make_frame: Make, last: str, complete: int
) -> None:
    path = tmp_path / "a.h5"
    script = DYING_WRITER + WRITER
    dead = subprocess.run([sys.executable, "-c", script, str(path), *last.split()], stdout=subprocess.DEVNULL)
    assert dead.returncode == -9
    with Recording(path) as recording:
        assert [int(frame.samples[0, 0]) for frame in recording] == list(range(complete))
    with RecordingWriter(path, resume=True) as writer:
        writer.append(make_frame(9, (256, 64)), np.full((2, 256, 64), 9, np.float32))
    with Recording(path) as recording:
        assert len(recording) == complete + 1
        np.testing.assert_array_equal(recording.frame(complete).samples, make_frame(9, (256, 64)).samples)
        assert [int(recording.truth(k)[0, 0, 0]) for k in range(complete)] == [*range(complete - 1), 9]


def test_a_growing_file_is_read_and_a_second_writer_kept_out(tmp_path: Path, make_frame: Make) -> None:
    path = tmp_path / "live.h5"
    process = start_writer(path)
    try:
        with Recording(path) as first:
            assert (first.frame(len(first) - 1).samples == (len(first) - 1) % 30000).all()
        with pytest.raises(RecordingError, match=r"live\.h5: .*another process"):
            RecordingWriter(path, resume=True)
        with Recording(path) as second:
            assert len(second) >= len(first)
    finally:
        process.kill()
        process.wait()
