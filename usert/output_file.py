"""The check of what a command will write, before the work.

Invariant: a recording is never replaced, also not one that is damaged or still being written.
"""

from __future__ import annotations

import os
from pathlib import Path

import h5py

from .errors import OptionError

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def check_output_file(
    path: str | os.PathLike[str], *, option: str, suffix: str = "", new: bool = False, device: bool = False
) -> None:
    """Check that a file may be written at `path`: its folder takes files, and nothing is there that must stay.

    `suffix`: how the name must end; empty: anyhow. `new`: refuse any file that is there, otherwise recordings only.
    `device`: allow a device or a pipe, such as `/dev/stdout`; otherwise they are refused, since a finished file takes
    the place of what has its name. Errors: `OptionError` that names the `option`.
    """
    target = Path(path)
    folder = target.absolute().parent
    if target.is_dir():
        raise OptionError(f"{option}: got {target}, a folder, expected the name of a file to write")
    _check_links(target, option)
    if not folder.is_dir():
        raise OptionError(f"{option}: got {target}, but there is no folder {target.parent}: make it first")
    special = folder == Path("/dev") or (target.exists() and not target.is_file())
    if special and not device:
        raise OptionError(f"{option}: got {target}, a device or a pipe, expected the name of a file to write")
    if not special and not os.access(folder, os.W_OK):
        raise OptionError(f"{option}: got {target}, but folder {folder} cannot be written to")
    if suffix and target.suffix.lower() != suffix:
        raise OptionError(f"{option}: got {target}, expected a name that ends in {suffix}")
    if target.is_file():
        kept = _why_kept(target) or ("is there already" if new else "")
        if kept:
            raise OptionError(f"{option}: got {target}, which {kept}; name another file, or remove it")


def check_output_folder(path: str | os.PathLike[str], *, option: str, replaced: bool = False) -> None:
    """Check that the folder `path` takes files, or, where there is none, that it can be made.

    `replaced`: whether a finished folder takes its place, so that the folder around it must take files, too. Errors:
    `OptionError` that names the `option`.
    """
    target = Path(path)
    if target.exists() and not target.is_dir():
        raise OptionError(f"{option}: got {target}, a file, expected a folder, or the name of a new one")
    _check_links(target, option)
    nearest = target.absolute().parent if replaced else target.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise OptionError(f"{option}: got {target}, but {nearest} is no folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OptionError(f"{option}: got {target}, but folder {nearest} cannot be written to")


def _check_links(target: Path, option: str) -> None:
    """Check that no part of `target` is a link to nothing, such as a disk that is not there.

    What is written would take the place of the link, or fail. Errors: `OptionError`.
    """
    for path in (target, *target.absolute().parents):
        if path.is_symlink() and not path.exists():
            where = "a link" if path == target else f"in {path}, a link"
            raise OptionError(
                f"{option}: got {target}, {where} to {os.readlink(path)}, where nothing is: make that, or remove "
                "the link"
            )


def _why_kept(path: Path) -> str:
    """Why a file is not replaced: it is a recording, or may be one; empty for any other."""
    try:
        with path.open("rb") as file:
            if file.read(len(_HDF5_SIGNATURE)) != _HDF5_SIGNATURE:
                return ""
        with h5py.File(path) as content:
            return "is a recording" if "rf" in content else ""
    except OSError:  # damaged, open in its writer, or not this user's to read
        return "cannot be read now and may be a recording"


def size_text(size: int) -> str:
    """A number of bytes for a person: in GB, or in MB below one."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB"
