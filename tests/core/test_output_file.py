"""What a command will write may be written, or the command says so before its work."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from usert.errors import OptionError
from usert.frame import RFFrame
from usert.output_file import check_output_file, check_output_folder
from usert.recording import RecordingWriter


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


@pytest.mark.parametrize("device", [False, True])
def test_a_link_to_nothing_is_refused_whatever_is_written(tmp_path: Path, device: bool) -> None:
    """The file would take the place of the link, on another disk than the one that was meant."""
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to("loop")
    for name, told in (
        ("link", f"got {tmp_path}/link, a link to {tmp_path}/gone, where nothing is: make that, or remove"),
        ("loop", "/loop, a link to loop, where nothing is"),
        ("link/a.h5", f"/link/a.h5, in {tmp_path}/link, a link to {tmp_path}/gone, where nothing is"),
    ):
        with pytest.raises(OptionError, match=f"^--out: .*{told}"):
            check_output_file(tmp_path / name, option="--out", device=device)
        for replaced in (False, True):
            with pytest.raises(OptionError, match=f"^--out: .*{told}"):
                check_output_folder(tmp_path / name, option="--out", replaced=replaced)
    (tmp_path / "gone").mkdir()
    check_output_file(tmp_path / "link" / "a.h5", option="--out")
    check_output_folder(tmp_path / "link" / "new", option="--out")
    (tmp_path / "file").symlink_to(tmp_path / "there.h5")
    (tmp_path / "there.h5").write_bytes(b"")
    check_output_file(tmp_path / "file", option="--out")


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: (Path(path), mode) != (tmp_path, os.W_OK))
    with pytest.raises(OptionError, match=f"--out: got .*a.h5, but folder {tmp_path} cannot be written to"):
        check_output_file(tmp_path / "a.h5", option="--out")


def test_a_recording_is_never_replaced(tmp_path: Path, make_frame: Callable[..., RFFrame]) -> None:
    path = tmp_path / "a.h5"
    with RecordingWriter(path) as writer:
        writer.append(make_frame())
        with pytest.raises(OptionError, match="may be a recording; name another file, or remove it"):
            check_output_file(path, option="--out")
    with pytest.raises(OptionError, match=r"--out: got .*a\.h5, which is a recording"):
        check_output_file(path, option="--out")
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(OptionError, match="may be a recording"):
        check_output_file(damaged, option="--out")


def test_results_and_other_files_are_replaced_unless_a_new_file_is_expected(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "result.h5", "w") as file:
        file["strain"] = 0.0
    (tmp_path / "a.txt").write_text("a")
    for name in ("result.h5", "a.txt"):
        check_output_file(tmp_path / name, option="--out")
        with pytest.raises(OptionError, match="which is there already; name another file, or remove it"):
            check_output_file(tmp_path / name, option="--out", new=True)


def test_a_device_is_fine_where_it_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/stdout", "/dev/null", tmp_path / "pipe"):
        check_output_file(path, option="--json", device=True)


def test_a_folder_that_takes_no_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "old").mkdir()
    for name in ("old", "new", "new/newer", "."):
        check_output_folder(tmp_path / name, option="--out")
    for name, told in (("file", "a file, expected a folder"), ("file/a", "but .*file is no folder")):
        with pytest.raises(OptionError, match=f"--out: got .*{name}, {told}"):
            check_output_folder(tmp_path / name, option="--out")
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)
    check_output_folder(tmp_path / "old", option="--out")
    told = f"but folder {tmp_path} cannot be written to"
    for name, replaced in (("new/newer", False), ("old", True)):
        with pytest.raises(OptionError, match=told):
            check_output_folder(tmp_path / name, option="--out", replaced=replaced)
