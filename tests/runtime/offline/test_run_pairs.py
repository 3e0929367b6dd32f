"""`usert run`, from recording to file and picture, by real ONNX Runtime sessions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from run_command import SCAN, SHAPE, names, speckle, usert, write
from tiny_bundle import QUALITY, SLOPE, STRAIN

from usert.bundle import Bundle
from usert.errors import FrameError, OptionError
from usert.iq import as_iq
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.recording import write_recording
from usert.runtime.offline.pairs import LeftOut, describe_left_out, parse_pairs
from usert.runtime.offline.result_file import ResultReader
from usert.runtime.offline.run_pairs import figure_path


def test_run_writes_all_that_it_promises(recording: Path, bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    done = usert("run", recording, "--out", out, "--bundle", bundle.folder, "--threads", "1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("0:1  mean strain 3.12 %, median quality 0.75, ")
    assert lines[1].startswith("1:2  ")
    assert lines[2] == f"2 pairs in {out}"
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file["pairs"], [[0, 1], [1, 2]])
        assert file["displacement"].shape == (2, 2, *SHAPE)
        assert file["strain"].shape == file["quality"].shape == (2, *SHAPE)
        assert {file[name].dtype for name in ("displacement", "strain", "quality")} == {np.dtype(np.float32)}
        frames = speckle(3).astype(np.float32)
        np.testing.assert_array_equal(file["displacement"][1, 1], frames[2] - frames[1])
        assert (file["strain"][:] == STRAIN).all()
        assert (file["quality"][:] == QUALITY).all()
        assert file["displacement"].attrs["units"] == "samples, lines"
        assert file["strain"].attrs["convention"] == "fraction, compression positive"
        assert {name: file.attrs[name] for name in SCAN} == SCAN
        assert file.attrs["axial_pitch_mm"] == pytest.approx(0.01925)
        assert file.attrs["bundle_sha256"] == bundle.sha256
        assert file.attrs["usert_version"] == "0.1.0"
        assert file.attrs["usert_kind"] == "strain"
        assert file.attrs["engine"] == "openvino CPU"
        assert file.attrs["strain_window_samples"] == 17
    assert names(tmp_path) == ["out.h5", "rec.h5"]


def test_listed_pairs_each_get_a_picture(recording: Path, bundle: Bundle, tmp_path: Path) -> None:
    words = ("run", recording, "--out", tmp_path / "o.h5", "--bundle", bundle.folder, "--threads", "1")
    assert usert(*words, "--pairs", "0:2, 2:0", "--figure", tmp_path / "f.png").returncode == 0
    assert names(tmp_path) == ["f-2-0.png", "f.png", "o.h5", "rec.h5"]
    with Image.open(tmp_path / "f.png") as picture:
        assert picture.format == "PNG"
    with h5py.File(tmp_path / "o.h5") as file:
        np.testing.assert_array_equal(file["pairs"], [[0, 2], [2, 0]])


def test_consecutive_pairs_get_one_picture(recording: Path, bundle: Bundle, tmp_path: Path) -> None:
    words = ("run", recording, "--out", tmp_path / "o.h5", "--bundle", bundle.folder, "--threads", "1")
    assert usert(*words, "--figure", tmp_path / "f.png").returncode == 0
    assert names(tmp_path) == ["f.png", "o.h5", "rec.h5"]


def test_strain_window_in_mm_takes_the_slope_of_the_displacement(
    recording: Path, bundle: Bundle, tmp_path: Path
) -> None:
    words = ("run", recording, "--out", tmp_path / "o.h5", "--bundle", bundle.folder, "--threads", "1")
    assert usert(*words, "--strain-window-mm", "0.4").returncode == 0
    with h5py.File(tmp_path / "o.h5") as file:
        np.testing.assert_allclose(file["strain"], SLOPE, rtol=1e-5)
        assert file.attrs["strain_window_samples"] == 21


def test_frames_outside_the_training_are_said_so(bundle: Bundle, tmp_path: Path) -> None:
    path = write(tmp_path / "rec.h5", speckle(2))
    with h5py.File(path, "a") as file:
        file.attrs["f0_hz"] = 15e6
    done = usert("run", path, "--out", tmp_path / "o.h5", "--bundle", bundle.folder)
    assert done.returncode == 0
    assert "f0/fs is 0.375, the bundle was trained for 0.1 to 0.25" in done.stderr


def test_a_bad_frame_costs_its_pairs_and_is_named(bundle: Bundle, tmp_path: Path) -> None:
    frames = speckle(8).astype(np.float32)
    frames[0] = 0
    frames[3, 5, 5] = np.nan
    frames[7] = 1234.5
    path, out = write(tmp_path / "rec.h5", frames), tmp_path / "o.h5"
    words = ("run", path, "--out", out, "--bundle", bundle.folder, "--threads", "2", "--at-once", "2")
    done = usert(*words, "--figure", tmp_path / "f.png")
    assert done.returncode == 0
    blank = "all samples are the same as int16, expected an RF signal"
    (line,) = done.stderr.splitlines()
    assert line == (
        f"usert: left out 4 pairs: 0:1 (frame 0: {blank}); 2:3, 3:4 (frame 3: 1 of 2304 samples are NaN or infinite); "
        f"6:7 (frame 7: {blank})"
    )
    *pairs, last = done.stdout.splitlines()
    assert [line.split()[0] for line in pairs] == ["1:2", "4:5", "5:6"]
    assert last.startswith(f"3 pairs in {out}, 4 left out, 2 at once: ")
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file["pairs"], [[1, 2], [4, 5], [5, 6]])
        assert file["displacement"].shape == (3, 2, *SHAPE)
        assert file["strain"].shape == file["quality"].shape == (3, *SHAPE)
        for row, k in enumerate((1, 4, 5)):
            expected = frames[k + 1] - frames[k]
            scale = np.abs(expected).max() / np.abs(file["displacement"][row, 1]).max()
            np.testing.assert_allclose(file["displacement"][row, 1] * scale, expected, atol=2)
        np.testing.assert_array_equal(file["left_out/pairs"], [[0, 1], [2, 3], [3, 4], [6, 7]])
        assert file["left_out/reasons"].asstr()[0] == f"frame 0: {blank}"
    with ResultReader(out) as result:
        assert result.pairs == ((1, 2), (4, 5), (5, 6))
        assert [one.pair for one in result.left_out] == [(0, 1), (2, 3), (3, 4), (6, 7)]
    assert names(tmp_path) == ["f.png", "o.h5", "rec.h5"]


def test_a_result_without_bad_frames_leaves_nothing_out(
    recording: Path, bundle: Bundle, tmp_path: Path
) -> None:
    done = usert("run", recording, "--out", tmp_path / "o.h5", "--bundle", bundle.folder)
    assert (done.returncode, done.stderr) == (0, "")
    with ResultReader(tmp_path / "o.h5") as result:
        assert result.left_out == ()
    with h5py.File(tmp_path / "o.h5") as file:
        assert "left_out" not in file


def test_many_bad_pairs_are_one_short_line() -> None:
    error = FrameError("current frame: all samples are the same")
    many = [LeftOut.of((k, 500), error) for k in range(20)]
    assert describe_left_out(many) == (
        "20 pairs: 0:500, 1:500, 2:500, 3:500, 4:500, 5:500, 6:500, 7:500 and 12 more "
        "(frame 500: all samples are the same)"
    )
    each = [LeftOut.of((0, k), error) for k in range(1, 12)]
    assert describe_left_out(each).endswith(
        "; 0:8 (frame 8: all samples are the same); and for 3 more reasons"
    )


def test_pairs_are_read_as_written() -> None:
    assert parse_pairs("consecutive", 4) == ((0, 1), (1, 2), (2, 3))
    assert parse_pairs(" 3:0 ,0:2", 4) == ((3, 0), (0, 2))
    with pytest.raises(OptionError, match=r"got .* 0 frame.*, expected"):
        parse_pairs("consecutive", 0)


def test_figures_of_further_pairs_stand_beside_the_first() -> None:
    assert figure_path("a/f.png", (0, 1), (0, 1)) == Path("a/f.png")
    assert figure_path("a/f.png", (2, 5), (0, 1)) == Path("a/f-2-5.png")


@pytest.mark.parametrize("transposed", [True, False])
def test_iq_with_lines_first_is_warned_of(tmp_path: Path, transposed: bool) -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=(768, 96)))
    frames = [as_iq(scanner.frame(k), scanner.scan.f0_hz, 4) for k in (0, 1, 7)]
    if transposed:
        frames = [replace(frame, samples=frame.samples.swapaxes(0, 1)) for frame in frames]
    path = tmp_path / "rec.h5"
    write_recording(path, frames)
    done = usert("run", path, "--out", tmp_path / "o.h5", "--method", "ncc")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("looks like IQ with lines first") == transposed
