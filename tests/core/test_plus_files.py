"""Sequences of PLUS: type, orientation, times, status and spacing of the header are honoured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from import_command import call
from plus_and_matlab import TURNED, sequence
from typer.testing import CliRunner

from usert.cli import app
from usert.errors import FormatError
from usert.formats import Declared, ImportOptions, about_files, read_frames
from usert.frame import Scan
from usert.recording import Recording

STACK = TURNED["MF"]


def read(path: Path, scan: Scan, **options: Any) -> np.ndarray[Any, Any]:
    frames = read_frames("metaimage", [path], scan, ImportOptions(**options))
    return np.array([frame.samples for frame in frames])


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("packed", ["True", "False"])
def test_row_0_is_nearest_the_probe_in_every_orientation(
    tmp_path: Path, scan: Scan, orientation: str, packed: str
) -> None:
    path = sequence(tmp_path / "a.igs.mha", orientation, CompressedData=packed)
    np.testing.assert_array_equal(read(path, scan), STACK)
    notes = about_files("metaimage", [path]).notes
    assert any(f"orientation {orientation}" in note for note in notes) == (
        orientation[:2] not in ("FM", "FU")
    )


def test_transposition_by_the_user_wins_and_is_not_done_twice(tmp_path: Path, scan: Scan) -> None:
    lines_first = sequence(tmp_path / "a.mha", "MF")
    np.testing.assert_array_equal(read(lines_first, scan, transpose=True), STACK)
    samples_first = sequence(tmp_path / "b.mha", "FM")
    np.testing.assert_array_equal(read(samples_first, scan, transpose=True), STACK.transpose(0, 2, 1))
    (note,) = about_files("metaimage", [samples_first], ImportOptions(transpose=True)).notes
    assert "--transpose: taken, but the file states orientation FM, samples first" in note


@pytest.mark.parametrize("packed", ["True", "False"])
def test_samples_beside_the_header_and_a_fourth_axis(tmp_path: Path, scan: Scan, packed: str) -> None:
    path = sequence(
        tmp_path / "a.mhd",
        ElementDataFile="a.zraw",
        CompressedData=packed,
        NDims="4",
        DimSize="7 5 1 3",
    )
    np.testing.assert_array_equal(read(path, scan), STACK)
    path = sequence(tmp_path / "b.mhd", NDims="4", DimSize="7 5 3 1")
    with pytest.raises(FormatError, match="DimSize '7 5 3 1', expected N M, N M F or N M 1 F"):
        read(path, scan)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("BRIGHTNESS", "BRIGHTNESS, expected RF_REAL, RF_IQ_LINE, RF_I_LINE_Q_LINE: this is B-mode"),
        ("RGB_COLOR", "RGB_COLOR, expected RF_REAL, .*: this is no RF"),
    ],
)
def test_what_states_that_it_is_no_rf_is_refused_by_its_type(
    tmp_path: Path, scan: Scan, image: str, message: str
) -> None:
    path = sequence(tmp_path / "a.igs.mha", image=image)
    for reader in (lambda: read(path, scan), lambda: about_files("metaimage", [path])):
        with pytest.raises(FormatError, match=message):
            reader()


@pytest.mark.parametrize("key", ["ImageStatus", "Status"])
def test_times_are_kept_and_frames_without_an_image_left_out(tmp_path: Path, scan: Scan, key: str) -> None:
    path = sequence(tmp_path / "a.mha", **{f"Seq_Frame0001_{key}": "INVALID"})
    frames = list(read_frames("metaimage", [path], scan))
    np.testing.assert_array_equal([frame.samples for frame in frames], STACK[[0, 2]])
    assert [frame.acquired_ns for frame in frames] == [12_500_000_000, 12_600_000_000]
    (note,) = about_files("metaimage", [path]).notes
    assert note.endswith("1 of 3 frames are INVALID and left out: 1")
    every = {f"Seq_Frame{k:04d}_{key}": "INVALID" for k in range(3)}
    with pytest.raises(FormatError, match=r"3 frames .*INVALID"):
        read(sequence(tmp_path / "b.mha", **every), scan)


def test_two_sequences_follow_one_another_with_their_times(tmp_path: Path, scan: Scan) -> None:
    later = {f"Seq_Frame{k:04d}_Timestamp": f"{20 + k}" for k in range(3)}
    paths = [sequence(tmp_path / "1.mha"), sequence(tmp_path / "2.mha", **later)]
    times = [frame.acquired_ns / 1e9 for frame in read_frames("metaimage", paths, scan)]
    assert times == pytest.approx([12.5, 12.55, 12.6, 20, 21, 22])


def test_times_in_whole_seconds_are_told(tmp_path: Path) -> None:
    geometry = ["--fs-mhz", "40", "--f0-mhz", "6.5", "--line-pitch-mm", "0.1", "--unchecked"]
    for seconds, told in (((20, 20, 21), True), ((20, 21, 22), False)):
        times = {f"Seq_Frame{k:04d}_Timestamp": str(second) for k, second in enumerate(seconds)}
        path, out = sequence(tmp_path / "a.mha", **times), tmp_path / f"{told}.h5"
        result = call("import", path, "--format", "metaimage", "--out", out, *geometry)
        assert ("times are whole seconds, and the same for several" in result.output) == told
        assert ("times are whole seconds" in call("info", out).output) == told


def test_spacing_is_geometry_unless_it_is_left_at_1(tmp_path: Path) -> None:
    assert about_files("metaimage", [sequence(tmp_path / "a.mha")]).geometry == Declared()
    for orientation, spacing in (("FM", "0.0128422 0.1 1"), ("MF", "0.1 0.0128422 1")):
        path = sequence(tmp_path / "b.mha", orientation, ElementSpacing=spacing)
        geometry = about_files("metaimage", [path]).geometry
        assert geometry == Declared(axial_pitch_mm=0.0128422, line_pitch_mm=0.1)
        assert geometry.over(Declared(f0_hz=6.5e6)).scan().fs_hz == pytest.approx(59.96e6, rel=1e-4)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"UltrasoundImageOrientation": "UP"},
            "UltrasoundImageOrientation UP, expected two or three letters",
        ),
        ({"Seq_Frame0002_Timestamp": "noon"}, "Seq_Frame0002_Timestamp is 'noon', expected seconds"),
        ({"Seq_Frame0002_Timestamp": "-1"}, "expected seconds"),
        ({"ElementSpacing": "0.1"}, "ElementSpacing '0.1', expected a number for each axis"),
        ({"ElementSpacing": "-0.1 0.1 1"}, "expected numbers above 0"),
        ({"DimSize": "7 5 99999999999"}, "210 bytes of samples, expected 6999999999930"),
        ({"DimSize": "7 5 99999999999", "CompressedData": "True"}, "bytes of compressed samples, expected"),
        ({"DimSize": "7 5 4", "CompressedData": "True"}, "210 bytes of samples, expected 280"),
    ],
)
def test_a_header_that_cannot_be_is_one_line(
    tmp_path: Path, scan: Scan, more: dict[str, str], message: str
) -> None:
    path = sequence(tmp_path / "a.mha", **more)
    with pytest.raises(FormatError, match=message) as caught:
        read(path, scan)
    assert "\n" not in str(caught.value)


def test_what_the_user_states_beats_the_file_and_is_told(tmp_path: Path) -> None:
    path, out = sequence(tmp_path / "a.mha", ElementSpacing="0.0128422 0.1 1"), tmp_path / "rec.h5"
    words = ["import", str(path), "--format", "metaimage", "--out", str(out), "--f0-mhz", "6.5"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    assert "fs 59.9586 MHz, f0 6.5 MHz, line pitch 0.1 mm" in result.output
    assert "taken" not in result.output
    out.unlink()
    result = CliRunner().invoke(app, [*words, "--fs-mhz", "40"])
    assert "--fs-mhz 40: taken, but the file states 59.9586 MHz" in result.output
    with Recording(out) as recording:
        assert (recording.scan.fs_hz, recording.scan.line_pitch_mm) == (40e6, 0.1)
        assert list(recording.acquired_ns) == [12_500_000_000, 12_550_000_000, 12_600_000_000]
    card = CliRunner().invoke(app, ["info", str(out)]).output
    assert "0.1 s from an unknown date, 20 frames a second" in card


def test_a_sequence_that_is_no_rf_makes_no_recording(cases_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "rec.h5"
    geometry = ["--fs-mhz", "40", "--f0-mhz", "6.5", "--line-pitch-mm", "0.12"]
    path = cases_folder / "plus_bmode.igs.mha"
    words = ["import", str(path), "--format", "metaimage", "--out", str(out), *geometry]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, FormatError)
    assert "this is B-mode" in str(result.exception)
    assert list(tmp_path.iterdir()) == []
