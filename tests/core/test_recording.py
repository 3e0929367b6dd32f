"""Recordings: what goes in comes out, bad files say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from usert.errors import FrameError, RecordingError
from usert.frame import RFFrame, Scan
from usert.recording import Recording, RecordingWriter, write_recording

Make = Callable[..., RFFrame]


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_frames_come_back_as_they_were(tmp_path: Path, make_frame: Make, dtype: str) -> None:
    frames = [make_frame(k, dtype=dtype) for k in range(3)]
    assert write_recording(tmp_path / "a.h5", frames) == 3
    with Recording(tmp_path / "a.h5") as recording:
        assert (len(recording), recording.shape, recording.dtype) == (3, (128, 16), np.dtype(dtype))
        assert recording.scan == frames[0].scan
        assert not recording.has_truth
        for k, (frame, back) in enumerate(zip(frames, recording, strict=True)):
            np.testing.assert_array_equal(back.samples, frame.samples)
            assert (back.sequence, back.acquired_ns) == (k, frame.acquired_ns)
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize("as_rf", [False, True])
@pytest.mark.parametrize("spoilt", [np.nan, np.inf, 3e38])
def test_a_truth_that_is_no_displacement(
    tmp_path: Path, make_frame: Make, spoilt: float, as_rf: bool
) -> None:
    truth = np.zeros((2, 128, 16), np.float32)
    truth[0, 5, 3] = spoilt
    write_recording(tmp_path / "a.h5", [make_frame(0), make_frame(1)], [truth])
    with (
        Recording(tmp_path / "a.h5", as_rf=as_rf) as recording,
        pytest.raises(RecordingError, match=r"truth 0: .*damaged"),
    ):
        recording.truth(0)


def test_truth_belongs_to_the_frame_it_starts_from(tmp_path: Path, make_frame: Make) -> None:
    truths = [np.full((2, 128, 16), k, np.float32) for k in range(2)]
    write_recording(tmp_path / "a.h5", [make_frame(k) for k in range(3)], truths)
    with Recording(tmp_path / "a.h5") as recording:
        assert recording.has_truth
        np.testing.assert_array_equal(recording.truth(1), truths[1])
        with pytest.raises(RecordingError, match=r"truth 2 .*0 to 1"):
            recording.truth(2)


def test_a_file_killed_before_its_first_frame_is_empty(tmp_path: Path, make_frame: Make) -> None:
    path = tmp_path / "a.h5"
    write_recording(path, [make_frame()])
    with h5py.File(path, "r+") as file:
        file["acquired_ns"].resize(0, axis=0)
    with Recording(path) as recording:
        assert list(recording) == []
        with pytest.raises(RecordingError, match="frame 0 "):
            recording.frame(0)


def test_resume_goes_on_where_a_whole_file_ends(tmp_path: Path, make_frame: Make) -> None:
    path = tmp_path / "a.h5"
    for k in range(3):
        with RecordingWriter(path, resume=True) as writer:
            writer.append(make_frame(k))
    with pytest.raises(RecordingError, match=r"a\.h5: .*resume"):
        RecordingWriter(path)
    with Recording(path) as recording:
        for k in range(3):
            np.testing.assert_array_equal(recording.frame(k).samples, make_frame(k).samples)


@pytest.mark.parametrize("change", ["shape", "dtype", "scan"])
def test_a_frame_of_another_kind_is_refused(tmp_path: Path, make_frame: Make, change: str) -> None:
    first = make_frame()
    other = {
        "shape": make_frame(shape=(128, 8)),
        "dtype": make_frame(dtype="float32"),
        "scan": replace(first, scan=replace(first.scan, line_pitch_mm=0.2)),
    }[change]
    with RecordingWriter(tmp_path / "a.h5") as writer:
        writer.append(first)
        with pytest.raises(FrameError, match="new recording"):
            writer.append(other)
        writer.append(first)
    with Recording(tmp_path / "a.h5") as recording:
        assert len(recording) == 2


def test_an_error_on_the_way_leaves_the_older_file(tmp_path: Path, make_frame: Make) -> None:
    path = tmp_path / "a.h5"
    write_recording(path, [make_frame(5)])
    with pytest.raises(FrameError):
        write_recording(path, [make_frame(), make_frame(shape=(64, 16))])
    with pytest.raises(RecordingError, match=r"a\.h5: no frames"):
        write_recording(path, [])
    with Recording(path) as recording:
        np.testing.assert_array_equal(recording.frame(0).samples, make_frame(5).samples)
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]
    with pytest.raises(RecordingError, match="absent"):
        write_recording(tmp_path / "absent" / "a.h5", [make_frame()])


def by_hand(path: Path, drop: str = "", rf: Any = None, **more: Any) -> Path:
    """A recording as a user would make it with h5py alone."""
    with h5py.File(path, "w") as file:
        geometry = {"fs_hz": 40e6, "f0_hz": 6.25e6, "sound_speed_m_s": 1540, "line_pitch_mm": [0.108]}
        for name, value in geometry.items():
            if name != drop:
                file.attrs[name] = value
        if drop != "rf":
            file["rf"] = np.arange(2 * 8 * 4, dtype=">i2").reshape(2, 8, 4) if rf is None else rf
        for name, value in more.items():
            if np.ndim(value):
                file[name] = value
            else:
                file.attrs[name] = value
    return path


def test_a_file_made_by_hand_is_read_and_resumed(tmp_path: Path, scan: Scan) -> None:
    path = by_hand(tmp_path / "hand.h5")
    with Recording(path) as recording:
        assert (recording.scan, recording.dtype, len(recording)) == (scan, np.dtype(np.int16), 2)
        frame = recording.frame(1)
        assert frame.samples[0].tolist() == [32, 33, 34, 35]
        assert frame.acquired_ns == 0
    with RecordingWriter(path, resume=True) as writer:
        writer.append(frame)
    with Recording(path) as recording:
        assert [f.samples[0, 0] for f in recording] == [0, 32, 32]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"drop": "rf"}, r"no dataset 'rf' \(found nothing\)"),
        ({"rf": np.zeros((8, 4), np.int16)}, r"rf has shape \(8, 4\), expected \(frames"),
        ({"rf": np.zeros((1, 8, 4))}, "rf has dtype float64, expected int16 or float32"),
        ({"drop": "f0_hz"}, r"no root attribute f0_hz, .* file.attrs\['f0_hz'\] = value"),
        ({"f0_hz": 30e6}, "f0_hz: got 3e[+]07 at fs_hz 4e[+]07"),
        (
            {"fs_hz": "forty"},
            r"fs_hz is text or a list, expected one number, as of file.attrs\['fs_hz'\] = 40000000",
        ),
        ({"fs_hz": np.bytes_("forty")}, "fs_hz is b'forty', expected one number"),
        ({"acquired_ns": np.zeros(3, np.int64)}, "acquired_ns has 3 entries, expected 2"),
        (
            {"acquired_ns": np.zeros(2)},
            r"acquired_ns is float64 \(2,\), expected int64 .*: whole nanoseconds",
        ),
        ({"usert_kind": np.bytes_("strain")}, "a file of kind 'strain', expected a recording"),
        ({"usert_kind": "strain", "drop": "rf"}, "a file of kind 'strain', expected a recording"),
        ({"usert_kind": "recording", "format": 7}, "recording format 7, expected 1: update usert"),
        ({"truth/displacement": np.zeros((2, 8, 4))}, r"truth/displacement has shape \(2, 8, 4\), expected"),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path: Path, made: dict[str, Any], message: str) -> None:
    path = by_hand(tmp_path / "bad.h5", **made)
    with pytest.raises(RecordingError, match=message) as caught:
        Recording(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_foreign_and_truncated_files(tmp_path: Path, make_frame: Make) -> None:
    with pytest.raises(RecordingError, match=r"absent\.h5"):
        Recording(tmp_path / "absent.h5")
    with pytest.raises(RecordingError, match=str(tmp_path)):
        Recording(tmp_path)
    for name, content in (("empty.h5", b""), ("text.h5", b"not at all HDF5\n" * 100)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RecordingError, match=f"{name}: .*HDF5"):
            Recording(tmp_path / name)
    path = tmp_path / "whole.h5"
    write_recording(path, [make_frame(k) for k in range(4)])
    whole = path.read_bytes()
    for size in (20, 60, 300, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(RecordingError) as caught, Recording(path) as recording:
            list(recording)
        assert "\n" not in str(caught.value)


def test_wrong_use_by_a_programmer(tmp_path: Path, make_frame: Make) -> None:
    writer = RecordingWriter(tmp_path / "a.h5")
    with pytest.raises(ValueError, match="truth"):
        writer.append(make_frame(), np.zeros((2, 128, 16)))
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="close"):
        writer.append(make_frame())
    assert not (tmp_path / "a.h5").exists()
