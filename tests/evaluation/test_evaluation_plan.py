"""Files of pairs: what they may say, and in which words a bad one is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from usert.errors import OptionError, RecordingError, UsertError
from usert.evaluation.pair import BORDER
from usert.evaluation.plan import PlannedPair, PlannedTable, read_plan
from usert.frame import RFFrame
from usert.front_end import TYPICAL
from usert.iq import as_iq, turned_down
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import Window, warped_ncc
from usert.recording import Recording, write_recording

ROOT = Path(__file__).parents[2]
SHAPE = (128, 16)
WINDOW = 17

TEXT = """
[[tables]]
title = "Zwei Schichten"
homogeneous = "40:60,2:14"
strain_window_samples = 9

[[tables.pairs]]
recording = "rec.h5"
frames = [0, 2]
name = "soft"

[[tables.pairs]]
recording = "rec.h5"
frames = [2, 1]
homogeneous = "70:90,2:14"
twice = "soft"
"""


@pytest.fixture
def folder(tmp_path: Path, make_frame: Callable[..., RFFrame]) -> Path:
    write_recording(tmp_path / "rec.h5", [make_frame(k, SHAPE) for k in range(3)])
    (tmp_path / "pairs.toml").write_text(TEXT, encoding="utf-8")
    return tmp_path


def planned(folder: Path, **fields: object) -> PlannedPair:
    return PlannedPair(**{"recording": str(folder / "rec.h5"), "frames": (0, 1)} | fields)  # type: ignore[arg-type]


def test_what_a_table_says_goes_for_pairs_that_say_nothing_else(folder: Path) -> None:
    (table,) = read_plan(folder / "pairs.toml")
    assert table.title == "Zwei Schichten"
    soft, other = table.pairs
    assert (soft.label, other.label) == ("soft", "2 → 1")
    assert soft.windows == {"homogeneous": Window(rows=(40, 60), lines=(2, 14))}
    assert other.windows == {"homogeneous": Window(rows=(70, 90), lines=(2, 14))}
    assert soft.strain_window_samples == other.strain_window_samples == 9
    assert soft.why == "named in pairs.toml"
    table.check(WINDOW)


def test_a_pair_is_loaded_as_recorded(folder: Path) -> None:
    pair = planned(folder, frames=(2, 0)).load(WINDOW)
    with Recording(folder / "rec.h5") as recording:
        np.testing.assert_array_equal(pair.pre, recording.frame(2).samples)
        np.testing.assert_array_equal(pair.post, recording.frame(0).samples)
    assert pair.strain_window == WINDOW
    assert pair.ncc_rows == (BORDER[0], SHAPE[0] - BORDER[0])
    assert pair.truth is None


def test_a_pair_of_iq_is_loaded_as_rf_with_its_windows_and_truth(tmp_path: Path) -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=(512, 64), noise=0.0), seed=0)
    frames = [scanner.frame(k) for k in (10, 11)]
    scan = replace(frames[0].scan, fs_hz=10e6, demodulation_hz=6e6)
    truth = scanner.truth(10, 11)[:, ::4] / np.array([4, 1], np.float32)[:, None, None]
    write_recording(
        tmp_path / "rec.h5",
        [replace(frame, samples=turned_down(frame.samples, scan, 4), scan=scan) for frame in frames],
        [truth],
    )
    one = planned(tmp_path, target="32:64,8:24", background="96:112,8:24", ncc_rows=(16, 112))
    rows, lines = one.check(WINDOW)
    assert (rows, lines) == (333, 64)
    with pytest.raises(OptionError, match="within 0:128,0:64"):
        planned(tmp_path, still="32:129,8:24").check(WINDOW)
    pair = one.load(WINDOW)
    assert pair.windows["target"] == Window(rows=(83, 166), lines=(8, 24))
    assert pair.ncc_rows == (42, 291)
    assert pair.truth is not None
    matched = warped_ncc(pair.pre, pair.post, pair.truth)
    assert np.median(matched[30:-30, 4:-4]) > 0.95


def test_the_default_strain_window_of_iq_is_as_long_in_mm_as_that_of_rf(tmp_path: Path) -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=(1024, 32)), seed=0)
    frames = [scanner.frame(k) for k in (0, 1)]
    scan = replace(frames[0].scan, f0_hz=40e6 * TYPICAL)
    frames = [replace(frame, scan=scan) for frame in frames]
    (tmp_path / "rf").mkdir()
    write_recording(tmp_path / "rf" / "rec.h5", frames)
    write_recording(tmp_path / "rec.h5", [as_iq(frame, scan.f0_hz, 4) for frame in frames])
    rf, iq = planned(tmp_path / "rf").load(97), planned(tmp_path).load(97)
    lengths = [pair.strain_window * pair.scan.axial_pitch_mm for pair in (rf, iq)]
    assert lengths[1] == pytest.approx(lengths[0], abs=iq.scan.axial_pitch_mm)
    assert planned(tmp_path, strain_window_samples=9).load(97).strain_window == 9


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"frames": (0, 3)}, r"rec.h5 0:3: .*0 to 2"),
        ({"frames": (-1, 0)}, r"expected 0 to 2"),
        ({"frames": (1, 1)}, r"1:1: .*two different frames"),
        ({"homogeneous": "100:129,0:4"}, r"homogeneous: window 100:129,0:4: .*0:128,0:16"),
        ({"homogeneous": "left"}, r"homogeneous: .*'left'"),
        ({"target": "1:9,0:4"}, r"target and background"),
        ({"strain_window_samples": 8}, r"strain window of 8 "),
        ({"strain_window_samples": 0}, r"strain window of 0 "),
        ({"strain_window_samples": 129}, r"128 samples, expected 129"),
        ({"ncc_rows": (100, 129)}, r"ncc_rows 100:129, expected a:b within 0:128"),
    ],
)
def test_a_pair_that_cannot_be_evaluated_says_why(
    folder: Path, fields: dict[str, object], fault: str
) -> None:
    with pytest.raises(UsertError, match=fault) as caught:
        planned(folder, **fields).check(WINDOW)
    assert "\n" not in str(caught.value)


def test_a_frame_all_border_is_refused(tmp_path: Path, make_frame: Callable[..., RFFrame]) -> None:
    write_recording(tmp_path / "rec.h5", [make_frame(k, (64, 16)) for k in range(2)])
    with pytest.raises(OptionError, match=r"64 x 16, expected .*64 x 8"):
        planned(tmp_path).check(WINDOW)
    planned(tmp_path, ncc_rows=(0, 64)).check(WINDOW)  # nothing of it is left out then


def test_half_of_a_pair_that_does_not_come_before_is_refused(folder: Path) -> None:
    table = PlannedTable(title="T", pairs=(planned(folder, name="full", twice="half"),))
    with pytest.raises(OptionError, match="'T', pair 'full': twice = 'half'"):
        table.check(WINDOW)


def test_half_of_a_pair_has_its_shape(folder: Path, make_frame: Callable[..., RFFrame]) -> None:
    write_recording(folder / "longer.h5", [make_frame(k, (160, 16)) for k in range(2)])
    half = planned(folder, name="half")
    PlannedTable(title="T", pairs=(half, planned(folder, frames=(0, 2), twice="half"))).check(WINDOW)
    other = planned(folder, recording=str(folder / "longer.h5"), twice="half")
    with pytest.raises(OptionError, match=r"twice = 'half', .*160 x 16"):
        PlannedTable(title="T", pairs=(half, other)).check(WINDOW)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("tables = 3", "tables: got 3, expected tuple"),
        ("[tables", ".*TOML"),
        ("", "key tables is missing"),
        (TEXT.replace("twice", "thrice"), r"unknown key tables\[0\].pairs\[1\].thrice"),
        (
            TEXT.replace("[0, 2]", "[0]"),
            r"tables\[0\].pairs\[0\].frames: got \[0\], expected tuple\[int, int\]",
        ),
        (TEXT.replace('recording = "rec.h5"', "", 1), r"key tables\[0\].pairs\[0\].recording is missing"),
        (TEXT.replace('title = "Zwei Schichten"', ""), r"key tables\[0\].title is missing"),
    ],
)
def test_a_bad_file_is_refused_by_key(folder: Path, text: str, fault: str) -> None:
    path = folder / "bad.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(OptionError, match=f"^{re.escape(str(path))}: {fault}") as caught:
        read_plan(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"none\.toml"):
        read_plan(tmp_path / "none.toml")


def test_the_benchmarks_pairs_are_a_plan_with_the_samples_and_truth_of_the_scanner(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, ROOT / "benchmarks/accuracy.py", "--out", tmp_path, "--seeds", "1"],
        check=True,
        capture_output=True,
    )
    (table,) = read_plan(tmp_path / "pairs.toml")
    table.check(WINDOW)
    assert [pair.label for pair in table.pairs] == ["0.5 %", "1 %", "2 %", "3 %", "5 %"]
    pair = table.pairs[1].load(WINDOW)
    scanner = SimulatedScanner(ScannerConfig(shape=(1024, 128), peak_strain=0.01), seed=0)
    np.testing.assert_array_equal(pair.post, scanner.frame(20).samples)
    np.testing.assert_array_equal(pair.truth, scanner.truth(0, 20))
    assert set(pair.windows) == {"homogeneous", "target", "background"}
