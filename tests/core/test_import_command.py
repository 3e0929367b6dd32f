"""`usert import` and `usert info` as a person calls them."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from import_command import TOLD, call, pressed

from usert.errors import FormatError, FrameError, OptionError, RecordingError
from usert.frame import RFFrame
from usert.recording import Recording, write_recording

GEOMETRY = ["--fs-mhz", "40", "--f0-mhz", "6.25", "--line-pitch-mm", "0.108"]


def raw_file(path: Path, value: int) -> Path:
    np.full((6, 4), value, "<i2").tofile(path)
    return path


def test_files_become_frames_in_their_order(tmp_path: Path) -> None:
    files = [raw_file(tmp_path / name, value) for name, value in (("b", 1), ("a", 2), ("c", 3))]
    out = tmp_path / "rec.h5"
    arguments: list[str | Path] = [*files, "--format", "raw", "--out", out, *GEOMETRY]
    result = call("import", *arguments, "--shape", "6,4", "--sample-type", "int16", "--rows", "1:5")
    assert result.exit_code == 0
    assert "3 frames of 4 x 4 int16" in result.output
    with Recording(out) as recording:
        assert [int(frame.samples[0, 0]) for frame in recording] == [1, 2, 3]
        assert recording.scan.fs_hz == 40e6
        assert recording.scan.sound_speed_m_s == 1540


def test_an_error_writes_nothing_and_spares_what_is_there(
    tmp_path: Path, make_frame: Callable[..., RFFrame]
) -> None:
    good, short = raw_file(tmp_path / "a", 1), tmp_path / "b"
    short.write_bytes(b"123")
    out, there = tmp_path / "new.h5", tmp_path / "rec.h5"
    write_recording(there, [make_frame()])
    before = there.read_bytes()
    base = ["--format", "raw", *GEOMETRY, "--sample-type", "int16"]
    with pytest.raises(FormatError, match=r"3 bytes, expected .*\b48\b"):
        call("import", good, short, "--out", out, *base, "--shape", "6,4")
    with pytest.raises(OptionError, match="--shape: got 'six'"):
        call("import", good, "--out", out, *base, "--shape", "six")
    with pytest.raises(OptionError, match="--out: got"):
        call("import", good, "--out", good, *base, "--shape", "6,4")
    with pytest.raises(OptionError, match=r"absent/rec\.h5, but there is no folder"):
        call("import", good, "--out", tmp_path / "absent" / "rec.h5", *base, "--shape", "6,4")
    with pytest.raises(OptionError, match=r"rec\.h5, which is a recording; name another file, or remove it"):
        call("import", good, "--out", there, *base, "--shape", "6,4")
    with pytest.raises(OptionError, match=r"b, which is there already; name another file"):
        call("import", good, "--out", short, *base, "--shape", "6,4")
    assert there.read_bytes() == before
    assert short.read_bytes() == b"123"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "rec.h5"]


def test_a_curved_array_is_what_was_told_and_its_pitch_that_half_way_down(tmp_path: Path) -> None:
    out = tmp_path / "rec.h5"
    words: list[str | Path] = ["import", raw_file(tmp_path / "a", 1), "--format", "raw", "--out", out]
    words += ["--shape", "6,4", "--sample-type", "int16", "--fs-mhz", "40", "--f0-mhz", "7", "--rows", "2:6"]
    result = call(*words, "--radius-mm", "60", "--line-angle-deg", "0.5", "--first-depth-mm", "3")
    first = 3 + 2 * 0.01925
    assert "half-way down, curved array of radius 60 mm, 0.5° between lines, 1.5° in all" in result.output
    assert "first row 3.04 mm deep" in result.output
    with Recording(out) as recording:
        scan = recording.scan
    assert (scan.radius_mm, scan.line_angle_deg, scan.first_depth_mm) == (60, 0.5, pytest.approx(first))
    assert scan.line_pitch_mm == pytest.approx(math.radians(0.5) * (60 + first + 2 * 0.01925))
    out.unlink()
    assert "half-way down, phased array" in call(*words, "--radius-mm", "0", "--line-angle-deg", "2").output
    card = call("info", out).output
    assert "0.1 mm deep" in card
    assert "phased array, 2° between lines, 6° in all, first row 0.04 mm deep" in card
    out.unlink()
    told = call(*words, "--radius-mm", "60", "--line-angle-deg", "0.5", "--line-pitch-mm", "0.6")
    assert "line pitch 0.6 mm" in told.output
    out.unlink()
    for option, value in (("--radius-mm", "60"), ("--line-angle-deg", "0.5")):
        with pytest.raises(OptionError, match="got none, and the file does not say"):
            call(*words, option, value)


def test_geometry_is_never_guessed(tmp_path: Path) -> None:
    file = raw_file(tmp_path / "a", 1)
    for option in ("--fs-mhz", "--f0-mhz", "--line-pitch-mm"):
        at = GEOMETRY.index(option)
        partial = GEOMETRY[:at] + GEOMETRY[at + 2 :]
        with pytest.raises(OptionError, match=f"{option}: got none"):
            call("import", file, "--format", "raw", "--out", tmp_path / "rec.h5", "--shape", "6,2", *partial)
        assert not (tmp_path / "rec.h5").exists()


@pytest.mark.parametrize(("sampling", "told"), [(20_000_000, True), (40_000_000, False), (40, False)])
def test_a_header_that_contradicts_is_told_and_the_user_wins(
    tmp_path: Path, sampling: int, told: bool
) -> None:
    path, out = tmp_path / "case1.rf", tmp_path / "rec.h5"
    header = struct.pack("<19i", 16, 1, 4, 100, 16, *range(8), 2, 6_000_000, sampling, 30, 256, 0)
    path.write_bytes(header + bytes(2 * 4 * 100))
    words = ["import", path, "--format", "ultrasonix", "--out", out, "--line-pitch-mm", "0.3"]
    output = call(*words, "--fs-mhz", "40", "--f0-mhz", "6").output
    assert "fs 40 MHz, f0 6 MHz" in output
    assert ("--fs-mhz 40: taken, but the file states 20 MHz" in output) == told
    out.unlink()
    if sampling > 1e6:
        assert f"fs {sampling / 1e6:g} MHz, f0 6 MHz" in call(*words).output
    else:
        with pytest.raises(OptionError, match="--fs-mhz: got none"):
            call(*words)


def test_info_of_a_recording(tmp_path: Path, make_frame: Callable[..., RFFrame]) -> None:
    path = tmp_path / "rec.h5"
    truths = [np.zeros((2, 128, 16), np.float32)] * 5
    write_recording(path, [make_frame(k) for k in range(6)], truths)
    card = call("info", path).output
    assert "6 of 128 samples x 16 lines, int16" in card
    assert "2.5 mm deep, 1.7 mm wide" in card
    assert "0.2 s from 2001-09-09 01:46:40 UTC, 25 frames a second" in card
    assert "5 pairs" in card
    with pytest.raises(RecordingError, match=r"absent\.h5"):
        call("info", tmp_path / "absent.h5")


def test_alpinion_frames_make_a_recording(rf_folder: Path, tmp_path: Path) -> None:
    files = sorted((rf_folder / "alpinion_phantom").glob("*.mat"))
    out = tmp_path / "phantom.h5"
    assert call("import", *files, "--format", "alpinion", "--out", out, *GEOMETRY).exit_code == 0
    card = call("info", out).output
    assert "4 of 2195 samples x 384 lines, float32" in card
    assert "42.3 mm deep, 41.5 mm wide" in card
    assert "unknown" in card


def test_frames_with_lines_first_are_refused_until_transposed(tmp_path: Path) -> None:
    file, out = pressed(tmp_path, lines_first=True, samples=(512, 128)), tmp_path / "rec.h5"
    told = [*TOLD, "--f0-mhz", "6.5"]
    with pytest.raises(FormatError, match=r"frames\.npy: .*lines first.*--transpose"):
        call("import", file, "--out", out, *told)
    assert not out.exists()
    assert "looks like" not in call("import", file, "--out", out, *told, "--transpose").output
    assert "signal      RF, 9" in call("info", out).output
    out.unlink()
    upright = pressed(tmp_path, samples=(512, 128))
    with pytest.raises(FormatError, match=r"lines first.*: leave --transpose out; --unchecked"):
        call("import", upright, "--out", out, *told, "--transpose")


def test_what_is_no_rf_is_imported_only_unchecked_and_then_told(tmp_path: Path) -> None:
    file, out = pressed(tmp_path, lines_first=True), tmp_path / "rec.h5"
    result = call("import", file, "--out", out, *TOLD, "--f0-mhz", "6.5", "--unchecked")
    assert result.exit_code == 0
    assert "looks like frames with lines first" in result.output
    assert "signal      looks like frames with lines first" in call("info", out).output


def test_blank_frames_are_imported_and_told(tmp_path: Path) -> None:
    file, out = tmp_path / "blank.npy", tmp_path / "rec.h5"
    np.save(file, np.zeros((1, 256, 64), np.int16))
    result = call("import", file, "--out", out, *TOLD, "--f0-mhz", "6.5")
    assert "blank.npy: the frames are blank, or too short to judge their signal" in result.output
    assert "rec.h5: 1 frame of 256 x 64" in result.output


def test_a_centre_frequency_that_the_echo_has_not_is_told(tmp_path: Path) -> None:
    file, out = pressed(tmp_path), tmp_path / "rec.h5"
    result = call("import", file, "--out", out, *TOLD, "--f0-mhz", "2.5")
    assert result.exit_code == 0
    assert "it lies about 6.5 MHz: --f0-mhz" in result.output


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        ("--fs-mhz", "4e7", "fs_hz: got 4e+13, expected 200000 to 2e+09 Hz: --fs-mhz takes MHz"),
        (
            "--line-pitch-mm",
            "0.00012",
            "line_pitch_mm: got 0.00012, expected 0.001 to 50 mm: looks like metres",
        ),
        ("--sound-speed", "1.54", "got 1.54, expected 300 to 10000 m/s: looks like km/s or mm/µs"),
    ],
)
def test_geometry_in_another_unit_is_refused(tmp_path: Path, option: str, value: str, line: str) -> None:
    file, out = pressed(tmp_path), tmp_path / "rec.h5"
    with pytest.raises(FrameError) as caught:
        call("import", file, "--out", out, *TOLD, "--f0-mhz", "6.5", option, value)
    assert str(caught.value).endswith(line)
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "refused"), [("lines_first_512x128", True), ("noise_below_penetration", False)]
)
def test_the_small_inputs_that_go_wrong(cases_folder: Path, tmp_path: Path, name: str, refused: bool) -> None:
    words = ["import", cases_folder / f"{name}.npy", "--out", tmp_path / "rec.h5", *TOLD, "--f0-mhz", "6.5"]
    if refused:
        with pytest.raises(FormatError, match="--transpose"):
            call(*words)
    else:
        assert "looks like" not in call(*words).output
