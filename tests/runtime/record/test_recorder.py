"""The record of a live server: complete or counted, whatever the disk does, and a recording like any other."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from live import numbered_frame, wait_until
from recorded import (
    PROVENANCE,
    gap_rows,
    made,
    received,
    sequences,
    settle,
)

from usert.bundle import Bundle
from usert.errors import RecordingError
from usert.runtime.imaging.frames import ReceivedFrame
from usert.runtime.protocol.age import clock_id
from usert.runtime.record import recorder as recorder_module
from usert.runtime.record import writer as record_writer
from usert.runtime.record.contents import Provenance, Record, hash_of
from usert.runtime.record.file import RecordFile
from usert.runtime.record.recorder import Kept, Recorder


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


RECORDING_SERVER = """
import sys
from recorded import PROVENANCE, Recorder, made, received

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
            cwd=Path(__file__).parents[1] / "support",
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
        pytest.raises(RecordingError, match=r"r-2\.h5.*expected"),
        Recorder(tmp_path / "r.h5", PROVENANCE),
    ):
        pass
    with (
        pytest.raises(RecordingError, match="absent"),
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


def test_a_frame_that_cannot_be_kept_does_not_end_the_recorder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = RecordFile.put_frame

    def picky(file: RecordFile, frame: ReceivedFrame) -> None:
        if frame.frame.sequence < 2:
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
    from usert.recording import write_recording

    write_recording(tmp_path / "a.h5", [numbered_frame()])
    with pytest.raises(RecordingError, match="'record'"):
        Record(tmp_path / "a.h5")
