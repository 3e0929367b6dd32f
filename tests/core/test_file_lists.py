"""Folders and several files: which are read, in which order, and which file a complaint names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from usert.cli import app
from usert.errors import FormatError, OptionError
from usert.formats import list_files
from usert.recording import Recording

GEOMETRY = ["--fs-mhz", "40", "--f0-mhz", "6.25", "--line-pitch-mm", "0.108"]


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in ("import", *words, *GEOMETRY)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Frames 1 to 11, each full of its number, and what does not belong to them."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for k in range(1, 12):
        np.save(folder / f"us{k}.npy", np.full((6, 4), k, np.int16))
    (folder / "notes.txt").write_text("probe L14-5")
    (folder / ".hidden.npy").write_text("no array")
    (folder / "more.npy").mkdir()
    return folder


def firsts(path: Path) -> list[int]:
    with Recording(path) as recording:
        return [int(frame.samples[0, 0]) for frame in recording]


def test_a_folder_is_read_in_the_order_of_its_numbers(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "rec.h5"
    result = call(folder, "--format", "numpy", "--out", out)
    assert firsts(out) == list(range(1, 12))
    assert "11 of 12 files, us1.npy to us11.npy" in result.output


def test_the_order_of_a_shell_becomes_that_of_the_numbers_and_is_told(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "rec.h5"
    as_text = sorted(file for file in folder.glob("us*.npy"))
    result = call(*as_text, "--format", "numpy", "--out", out)
    assert firsts(out) == list(range(1, 12))
    assert (
        "files are taken in the order of their numbers, us1.npy, us2.npy, us3.npy, us4.npy, …"
        in result.output
    )
    without_dots = sorted(as_text, key=lambda file: file.name.replace(".", ""))
    assert list_files(without_dots, (".npy",))[0] == list_files([folder], (".npy",))[0]


def test_an_order_of_the_user_stays_and_is_told(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "rec.h5"
    files = [folder / f"us{k}.npy" for k in (3, 10, 2)]
    result = call(*files, "--format", "numpy", "--out", out)
    assert firsts(out) == [3, 10, 2]
    assert (
        "taken in the order given, us3.npy, us10.npy, us2.npy; by their names it would be us2"
        in result.output
    )
    assert "in the order" not in call(*files[:2], "--format", "numpy", "--out", out).output


def test_a_folder_without_such_files_and_a_missing_file_are_named(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "rec.h5"
    result = call(folder, "--format", "metaimage", "--out", out)
    assert isinstance(result.exception, FormatError)
    assert "12 files, expected at least one whose name ends in .mha or .mhd" in str(result.exception)
    result = call(folder / "us12.npy", "--format", "numpy", "--out", out)
    assert str(result.exception) == f"{folder / 'us12.npy'}: no such file"
    result = call(folder, "--format", "npy", "--out", out)
    assert isinstance(result.exception, OptionError)
    assert not out.exists()


@pytest.mark.parametrize(
    ("odd", "shown", "remedy"),
    [
        (np.zeros((4, 6), np.int16), "4 x 6 int16", ""),
        (np.zeros((6, 4), np.float32), "6 x 4 float32", ""),
        (np.zeros((8, 4), np.int16), "8 x 4 int16", ", or cut them alike by --rows"),
    ],
)
def test_frames_that_differ_are_named_by_their_own_file(
    folder: Path, tmp_path: Path, odd: np.ndarray, shown: str, remedy: str
) -> None:
    np.save(folder / "us7.npy", odd)
    result = call(folder, "--format", "numpy", "--out", tmp_path / "rec.h5")
    assert isinstance(result.exception, FormatError)
    assert str(result.exception) == (
        f"{folder / 'us7.npy'}: frame 0 is {shown}, expected 6 x 4 int16 as in {folder / 'us1.npy'}:"
        f" import them apart{remedy}"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


def test_frames_that_are_too_few_rows_for_strain_are_told_of(tmp_path: Path) -> None:
    for rows, told in ((60, True), (97, False)):
        np.save(tmp_path / "a.npy", np.ones((rows, 8), np.int16))
        result = call(tmp_path / "a.npy", "--format", "numpy", "--out", tmp_path / "rec.h5")
        assert ("60 rows are too few for strain, which needs 97" in result.output) == told
