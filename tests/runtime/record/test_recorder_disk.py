"""A record on a disk that is slow, full, broken or hangs: complete or counted, and the server goes on."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import TIMEOUT_S, wait_until
from recorded import (
    FRAME_BYTES,
    IMAGE_BYTES,
    PROVENANCE,
    count_images,
    gap_rows,
    made,
    missing_frames,
    received,
    sequences,
    settle,
)

from usert.runtime.imaging.frames import ReceivedFrame
from usert.runtime.record import recorder as recorder_module
from usert.runtime.record import writer as record_writer
from usert.runtime.record.file import RecordFile
from usert.runtime.record.recorder import Kept, Recorder


class Stall:
    """A disk that stops in the middle of a frame, until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.go = threading.Event(), threading.Event()
        put = RecordFile.put_frame

        def slow(file: RecordFile, frame: ReceivedFrame) -> None:
            self.entered.set()
            assert self.go.wait(TIMEOUT_S)
            put(file, frame)

        monkeypatch.setattr(RecordFile, "put_frame", slow)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True)
    if mount.returncode:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_stalled_disk_costs_counted_frames_and_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stall, path = Stall(monkeypatch), tmp_path / "r.h5"
    with Recorder(path, PROVENANCE, max_bytes=4 * FRAME_BYTES) as recorder:
        recorder.put_frame(received(0))
        assert stall.entered.wait(TIMEOUT_S)
        for k in range(1, 50):
            recorder.put_frame(received(k))
            assert recorder.held_bytes <= 4 * FRAME_BYTES
        assert recorder.stats.frames == Kept(received=50, recorded=0, missing={"queue full": 46})
        assert recorder.stats.frames.waiting == 4
        stall.go.set()
        settle(recorder)
        recorder.put_frame(received(50))
        settle(recorder)
        recorder.put_frame(received(51))
    assert sequences(path) == [0, 1, 2, 3, 50, 51]
    assert gap_rows(path) == [("frame", 1, "queue full", 4, 49, 46)]
    lines = [entry.message for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert len(lines) == 1, "one line for what repeats"
    assert "not recorded (frame, queue full): the disk is too slow" in lines[0]
    assert str(recorder.stats) == (
        f"6 frames and 0 images in {path}, missing 46 (queue full 46) frames, 0 images"
    )


def test_images_give_way_to_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stall, path = Stall(monkeypatch), tmp_path / "r.h5"
    with Recorder(path, PROVENANCE, max_bytes=4 * IMAGE_BYTES) as recorder:
        recorder.put_frame(received(0))
        assert stall.entered.wait(TIMEOUT_S)
        for k in range(1, 6):
            recorder.put_image(made(k - 1, k))
        assert recorder.stats.images.missing == {"queue full": 4}, "half of the queue is for frames alone"
        for k in range(1, 17):
            recorder.put_frame(received(k))
        assert recorder.stats.frames.missing == {}
        stall.go.set()
    assert sequences(path) == list(range(17))
    assert gap_rows(path) == [("image", 1, "queue full", 2, 5, 4)]


def test_a_run_of_misses_ends_where_something_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stall, path = Stall(monkeypatch), tmp_path / "r.h5"
    with Recorder(path, PROVENANCE, max_bytes=FRAME_BYTES) as recorder:
        for first in (0, 10, 20):
            stall.entered.clear()
            recorder.put_frame(received(first))
            assert stall.entered.wait(TIMEOUT_S)
            for k in range(first + 1, first + 4):
                recorder.put_frame(received(k))
            stall.go.set()
            settle(recorder)
            wait_until(lambda: recorder.held_bytes == 0)
            stall.go.clear()
        stall.go.set()
    assert sequences(path) == [0, 10, 20]
    assert [row[3:] for row in gap_rows(path)] == [(1, 3, 3), (11, 13, 3), (21, 23, 3)]


def test_a_full_disk_is_waited_out(small_disk: Path) -> None:
    path, ballast, size = small_disk / "r.h5", small_disk / "ballast", (256, 64)
    with Recorder(path, PROVENANCE, reserve_bytes=200_000) as recorder:
        recorder.put_frame(received(0, shape=size))
        settle(recorder)
        ballast.write_bytes(bytes(1_700_000))
        for k in range(1, 30):
            recorder.put_frame(received(k, shape=size))
        settle(recorder)
        full = recorder.stats.frames
        assert list(full.missing) == ["disk full"]
        assert full.recorded + full.missing["disk full"] == 30
        ballast.unlink()
        recorder.put_frame(received(30, shape=size))
        settle(recorder)
        recorder.put_frame(received(31, shape=size))
    held = sequences(path)
    assert held == [*range(full.recorded), 30, 31]
    assert gap_rows(path) == [("frame", 1, "disk full", full.recorded, 29, full.missing["disk full"])]


def test_a_disk_that_fails_ends_the_file_and_another_one_goes_on(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(record_writer, "RETRY_NS", 0)
    path, ballast, size = small_disk / "r.h5", small_disk / "ballast", (256, 64)
    ballast.write_bytes(bytes(1_000_000))
    with Recorder(path, PROVENANCE, reserve_bytes=-(1 << 30)) as recorder:  # no look at what is free
        for k in range(40):
            recorder.put_frame(received(k, shape=size))
            if k:
                recorder.put_image(made(k - 1, k, shape=size))
        settle(recorder)
        failed = recorder.stats.frames.missing
        assert set(failed) <= {"write failed", "disk full"}
        assert sum(failed.values()) > 5
        ballast.unlink()
        recorder.put_frame(received(40, shape=size))
        settle(recorder)
        recorder.put_frame(received(41, shape=size))
    files = recorder.stats.files
    assert sorted(files) == sorted(file for file in small_disk.iterdir())
    held = [k for file in files for k in sequences(file)]
    assert held == sorted(set(held))
    assert sequences(files[0]) == list(range(len(sequences(files[0]))))
    assert sequences(files[-1])[-2:] == [40, 41]
    missing = missing_frames(files)
    assert sorted(held + missing) == list(range(42))
    assert len(missing) == sum(recorder.stats.frames.missing.values())
    images = recorder.stats.images
    assert sum(count_images(file) for file in files) == images.recorded
    assert images.recorded + sum(images.missing.values()) == 39
    assert any("No space left on device" in entry.message for entry in caplog.records)


def test_what_waits_too_long_at_the_end_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "_CLOSE_NS", 1)
    stall = Stall(monkeypatch)
    with Recorder(tmp_path / "r.h5", PROVENANCE) as recorder:
        for k in range(5):
            recorder.put_frame(received(k))
        assert stall.entered.wait(TIMEOUT_S)

        def let_go() -> None:
            wait_until(lambda: recorder.closing)
            stall.go.set()

        helper = threading.Thread(target=let_go)
        helper.start()
    helper.join()
    assert recorder.stats.frames == Kept(received=5, recorded=1, missing={"closed": 4})
    assert gap_rows(tmp_path / "r.h5") == [("frame", 1, "closed", 1, 4, 4)]


def test_a_disk_that_hangs_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder_module, "_CLOSE_NS", 1)
    monkeypatch.setattr(recorder_module, "_GRACE_S", 0.05)
    stall = Stall(monkeypatch)
    with Recorder(tmp_path / "r.h5", PROVENANCE) as recorder:
        recorder.put_frame(received(0))
        assert stall.entered.wait(TIMEOUT_S)
    assert "the disk does not respond" in caplog.text
    stall.go.set()
    wait_until(lambda: recorder.stats.frames.waiting == 0)
    wait_until(lambda: not any(thread.name == "record" for thread in threading.enumerate()))
