"""What a command will write may be written, or the command says so before its work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from usert.errors import OptionError
from usert.output_file import check_output_file


def test_a_new_file_and_one_that_is_replaced_are_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.PNG").write_bytes(b"")
    check_output_file("new.h5", option="--out")
    check_output_file(tmp_path / "old.PNG", option="--out", suffix=".png")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """Also a device, whose place the finished file would take."""
    os.mkfifo(tmp_path / "pipe")
    for name, told in (
        (".", "a folder, expected"),
        ("none/a.png", "but there is no folder .*none: make it first"),
        ("pipe", "a device or a pipe, expected"),
        ("/dev/null", "--out: got /dev/null, a device or a pipe, expected the name of a file"),
        ("/dev/stdout", "a device or a pipe, expected"),
        ("a.txt", "expected a name that ends in .png"),
    ):
        with pytest.raises(OptionError, match=told):
            check_output_file(tmp_path / name, option="--out", suffix=".png")


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: (Path(path), mode) != (tmp_path, os.W_OK))
    with pytest.raises(OptionError, match=f"--out: got .*a.h5, but folder {tmp_path} cannot be written to"):
        check_output_file(tmp_path / "a.h5", option="--out")
