"""The record of a live server: complete or counted, whatever the disk does, and a recording like any other."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live import SCAN, SHAPE, TIMEOUT_S, numbered_frame, numbered_message, wait_until

from usert.bundle import Bundle
from usert.errors import RecordingError
from usert.runtime.clock import clock_id
from usert.runtime.engine import Estimate
from usert.runtime.pairing import ReceivedFrame
from usert.runtime.record import recorder as recorder_module
from usert.runtime.record import writer as record_writer
from usert.runtime.record.file import RecordedImage, RecordFile
from usert.runtime.record.record import Provenance, Record, hash_of
from usert.runtime.record.recorder import Kept, Recorder
from usert.runtime.stamp import Counters, FrameStamp
from usert.runtime.wire import StrainMessage

FRAME_BYTES = 2 * SHAPE[0] * SHAPE[1]
IMAGE_BYTES = 4 * 4 * SHAPE[0] * SHAPE[1]
PROVENANCE = Provenance(bundle="b", bundle_sha256="1", weights_sha256="2", configuration={"threads": 1})


def received(sequence: int, session: int = 1, **changes: Any) -> ReceivedFrame:
    message = numbered_message(sequence, clock="c1", **({"time_ns": 10 * sequence} | changes))
    return ReceivedFrame(message=message, received_ns=10 * sequence + 1, session=session)


def made(reference: int, current: int, session: int = 1, shape: tuple[int, int] = SHAPE) -> RecordedImage:
    """An image that depends on its sequence numbers alone."""
    noise = np.random.default_rng((reference, current)).standard_normal((4, *shape)).astype(np.float32)
    noise[2, 0, :3] = np.nan, -0.0, 1e-42
    estimate = Estimate(displacement=noise[:2], strain=noise[2], quality=noise[3])
    shown = FrameStamp(sequence=current - 1, time_ns=0, acquired_ns=0)
    message = StrainMessage(
        stream="test",
        session=session,
        reference=shown,
        current=shown,
        source_clock="c1",
        server_clock=clock_id(),
        received_ns=0,
        matched_ns=0,
        started_ns=0,
        published_ns=10 * current + 4,
        state="held",
        reason="quality",
        scan=SCAN,
        counters=Counters(received=5, dropped=1, malformed=2, published=current),
        weights_hash="2",
        mean_strain=0.0,
        mean_quality=0.0,
        displacement=estimate.displacement,
        strain=estimate.strain,
        quality=estimate.quality,
    )
    return RecordedImage(
        reference=reference,
        current=current,
        received_ns=10 * current + 1,
        matched_ns=10 * current + 2,
        started_ns=10 * current + 3,
        mean_strain=0.1,
        mean_quality=0.7,
        score=0.6,
        estimate=estimate,
        engine="tiny engine",
        message=message,
    )


def settle(recorder: Recorder) -> None:
    wait_until(lambda: recorder.stats.frames.waiting == recorder.stats.images.waiting == 0)


def sequences(path: Path) -> list[int]:
    with Record(path) as record:
        return [int(sequence) for sequence in record.frames["sequence"]]


def count_images(path: Path) -> int:
    with Record(path) as record:
        return len(record.images)


def gap_rows(path: Path) -> list[tuple[str, int, str, int, int, int]]:
    with Record(path) as record:
        return [
            (
                row["what"].decode(),
                row["session"],
                row["reason"].decode(),
                row["first"],
                row["last"],
                row["count"],
            )
            for row in record.gaps
        ]


def missing_frames(paths: Iterable[Path]) -> list[int]:
    rows = [row for path in paths for row in gap_rows(path) if row[0] == "frame"]
    assert all(count == last - first + 1 for *_, first, last, count in rows)
    return [k for *_, first, last, _ in rows for k in range(first, last + 1)]


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


@pytest.mark.parametrize("displacement", [False, True])
def test_all_of_it_comes_back(tmp_path: Path, displacement: bool, bundle: Bundle) -> None:
    provenance = Provenance.of(bundle, engine="best", threads=2, lag=1)
    with Recorder(tmp_path / "r.h5", provenance, displacement=displacement) as recorder:
        for k in range(4):
            recorder.put_frame(received(k, acquired_ns=10**18 + k))
            if k:
                recorder.put_image(made(k - 1, k))
    assert recorder.stats.frames == Kept(received=4, recorded=4, missing={})
    assert recorder.stats.images == Kept(received=3, recorded=3, missing={})
    assert recorder.stats.files == (tmp_path / "r.h5",)
    with Record(tmp_path / "r.h5") as record:
        assert record.configuration == {"engine": "best", "threads": 2, "lag": 1}
        assert record.attributes["bundle_sha256"] == bundle.sha256
        assert record.attributes["weights_sha256"] == bundle.manifest.weights.sha256
        assert [record.attributes[key] for key in ("stream", "source_clock", "session")] == ["test", "c1", 1]
        assert record.attributes["server_clock"] == clock_id()
        assert [tuple(row) for row in record.frames.tolist()] == [(k, 10 * k, 10 * k + 1) for k in range(4)]
        assert record.recording.acquired_ns.tolist() == [10**18 + k for k in range(4)]
        assert len(record.gaps) == 0
        for k in range(3):
            expected, row = made(k, k + 1), record.images[k]
            for name in ("strain", "quality", "displacement")[: 2 + displacement]:
                assert record.array(name, k).tobytes() == getattr(expected.estimate, name).tobytes()
            assert (row["reference"], row["current"]) == (k, k + 1)
            times = ("received_ns", "matched_ns", "started_ns", "published_ns")
            assert [row[name] for name in times] == [10 * k + 10 + n for n in (1, 2, 3, 4)]
            assert (row["mean_strain"], row["mean_quality"], row["score"]) == (0.1, 0.7, 0.6)
            assert (row["state"], row["reason"], row["shown"]) == (b"held", b"quality", k)
            assert [row[key] for key in ("received", "dropped", "malformed", "published")] == [5, 1, 2, k + 1]
            assert row["engine"] == b"tiny engine"
            assert row["displacement_sha256"].decode() == hash_of(expected.estimate.displacement)
        assert record.has_displacement == displacement
        frame = record.frame(2)
        assert frame is not None
        np.testing.assert_array_equal(frame.samples, numbered_frame(2).samples)
        assert record.frame(9) is None


def test_a_record_is_a_recording_to_every_command(tmp_path: Path, bundle: Bundle) -> None:
    path = tmp_path / "r.h5"
    with Recorder(path, PROVENANCE) as recorder:
        for k in range(3):
            recorder.put_frame(received(k))
        recorder.put_image(made(0, 1))
    for words in (["info", path], ["run", path, "--out", tmp_path / "o.h5", "--bundle", bundle.folder]):
        command = [sys.executable, "-m", "usert", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert re.search(r"frames +3 of 24 samples x 8 lines, int16|2 pairs in", done.stdout)


def test_each_session_has_a_file_and_the_last_image_of_the_one_before_still_gets_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "r.h5"
    with Recorder(path, PROVENANCE) as recorder:
        recorder.put_frame(received(5, 1))
        recorder.put_frame(received(6, 1))
        recorder.put_frame(received(0, 2, shape=(16, 4)))
        recorder.put_image(made(5, 6, 1))
        recorder.put_frame(received(0, 3))
        recorder.put_frame(received(1, 4))
        recorder.put_image(made(5, 6, 1))
    assert sequences(path) == [5, 6]
    with Record(tmp_path / "r-2.h5") as second:
        assert (second.recording.shape, second.attributes["session"]) == ((16, 4), 2)
    assert [file.name for file in recorder.stats.files] == ["r.h5", "r-2.h5", "r-3.h5", "r-4.h5"]
    with Record(path) as record:
        assert len(record.images) == 1
    assert recorder.stats.images.missing == {"no file": 1}
    assert gap_rows(tmp_path / "r-4.h5") == [("image", 1, "no file", 6, 6, 1)]


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
    assert len(lines) == 1, "one line a kind"
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


RECORDING_SERVER = """
import sys
sys.path.append("..")  # what the tests of the live path share
from test_recorder import PROVENANCE, SHAPE, Recorder, made, received

with Recorder(sys.argv[1], PROVENANCE, displacement=True) as recorder:
    k = 0
    while True:
        recorder.put_frame(received(k, acquired_ns=10**18 + k))
        if k:
            recorder.put_image(made(k - 1, k))
        k += 1
        while recorder.held_bytes > 100_000:
            pass
        if k == 50:
            print("recording", flush=True)
"""


def test_what_a_killed_server_leaves_is_whole(tmp_path: Path) -> None:
    for trial in range(3):
        path = tmp_path / f"{trial}.h5"
        process = subprocess.Popen(
            [sys.executable, "-c", RECORDING_SERVER, str(path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent,
        )
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == b"recording\n"
        threading.Event().wait(0.05 * trial)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        with Record(path) as record:
            count = len(record.frames)
            assert len(record.recording) - 1 <= count <= len(record.recording)
            assert count - 2 <= len(record.images) <= count
            assert record.frames["sequence"].tolist() == list(range(count))
            assert len(record.gaps) == 0
            for k in (0, count // 2, count - 1):
                frame = record.frame(k)
                assert frame is not None
                np.testing.assert_array_equal(frame.samples, numbered_frame(k).samples)
                assert record.recording.acquired_ns[k] == 10**18 + k
            for k in (0, len(record.images) // 2, len(record.images) - 1):
                row, expected = record.images[k], made(k, k + 1)
                assert (row["current"], row["published"]) == (k + 1, k + 1)
                for name in ("strain", "quality", "displacement"):
                    assert record.array(name, k).tobytes() == getattr(expected.estimate, name).tobytes()
                assert row["displacement_sha256"].decode() == hash_of(expected.estimate.displacement)


def test_a_growing_record_is_read(tmp_path: Path) -> None:
    with Recorder(tmp_path / "r.h5", PROVENANCE) as recorder:
        for k in range(3):
            recorder.put_frame(received(k))
            settle(recorder)
            assert sequences(tmp_path / "r.h5") == list(range(k + 1))


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "r-2.h5").write_bytes(b"precious")
    with (
        pytest.raises(RecordingError, match=r"r-2.h5 is there already, expected a new name"),
        Recorder(tmp_path / "r.h5", PROVENANCE),
    ):
        pass
    with (
        pytest.raises(RecordingError, match="there is no folder"),
        Recorder(tmp_path / "absent" / "r.h5", PROVENANCE),
    ):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["r-2.h5"]


def test_in_a_folder_each_run_has_a_name_of_its_own(tmp_path: Path) -> None:
    for _ in range(2):
        with Recorder(tmp_path, PROVENANCE) as recorder:
            recorder.put_frame(received(0))
    names = sorted(file.name for file in tmp_path.iterdir())
    assert len(names) == 2
    assert all(re.fullmatch(r"usert-\d{8}T\d{6}\.\d{6}Z\.h5", name) for name in names)


def test_files_are_not_without_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_writer, "MAX_FILES", 2)
    with Recorder(tmp_path / "r.h5", PROVENANCE) as recorder:
        for session in range(1, 6):
            recorder.put_frame(received(0, session))
    assert recorder.stats.frames == Kept(received=5, recorded=2, missing={"too many files": 3})
    assert [row[:3] for row in gap_rows(tmp_path / "r-2.h5")] == [
        ("frame", session, "too many files") for session in (3, 4, 5)
    ]


def test_an_image_of_another_shape_costs_itself_alone(tmp_path: Path) -> None:
    with Recorder(tmp_path / "r.h5", PROVENANCE) as recorder:
        recorder.put_frame(received(0))
        recorder.put_image(made(0, 1, shape=(16, 4)))
        recorder.put_image(made(0, 2))
    assert recorder.stats.images == Kept(received=2, recorded=1, missing={"unfit": 1})
    with Record(tmp_path / "r.h5") as record:
        assert record.images["current"].tolist() == [2]
        assert record.array("strain", 0).tobytes() == made(0, 2).estimate.strain.tobytes()


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
    assert "the disk does not answer" in caplog.text
    stall.go.set()
    wait_until(lambda: recorder.stats.frames.waiting == 0)
    wait_until(lambda: not any(thread.name == "record" for thread in threading.enumerate()))


def test_a_frame_that_cannot_be_kept_does_not_end_the_recorder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = RecordFile.put_frame

    def picky(file: RecordFile, frame: ReceivedFrame) -> None:
        if frame.message.frame.sequence < 2:
            raise TypeError("not this one")
        put(file, frame)

    monkeypatch.setattr(RecordFile, "put_frame", picky)
    monkeypatch.setattr(recorder_module, "_QUIET_NS", 0)
    with Recorder(tmp_path / "r.h5", PROVENANCE) as recorder:
        for k in range(4):
            recorder.put_frame(received(k))
            settle(recorder)
            wait_until(lambda: recorder.held_bytes == 0)  # idle, and at the gaps
    assert sequences(tmp_path / "r.h5") == [2, 3]
    assert [row[2:] for row in gap_rows(tmp_path / "r.h5")] == [("unfit", 0, 1, 2)]


def test_after_the_end_nothing_is_taken(tmp_path: Path) -> None:
    with Recorder(tmp_path / "r.h5", PROVENANCE) as recorder:
        pass
    recorder.put_frame(received(0))
    assert recorder.stats.frames.missing == {"closed": 1}
    assert list(tmp_path.iterdir()) == []


def test_a_recording_that_is_no_record_says_so(tmp_path: Path) -> None:
    from usert.recording_writer import write_recording

    write_recording(tmp_path / "a.h5", [numbered_frame()])
    with pytest.raises(RecordingError, match="no group 'record', expected the record of a live server"):
        Record(tmp_path / "a.h5")
