"""The check of a file that a command will write, before the work."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import OptionError


def check_output_file(path: str | os.PathLike[str], *, option: str, suffix: str = "") -> None:
    """Check that a file may be written at `path`: its folder takes files, and what is there, if anything, is one.

    A device such as `/dev/null` is refused, since a finished file takes the place of what has its name.
    `suffix`: how the name must end; empty: anyhow. Errors: `OptionError` that names the `option`.
    """
    target = Path(path)
    if target.is_dir():
        raise OptionError(f"{option}: got {target}, a folder, expected the name of a file to write")
    if not target.absolute().parent.is_dir():
        raise OptionError(f"{option}: got {target}, but there is no folder {target.parent}: make it first")
    if not os.access(target.absolute().parent, os.W_OK):
        raise OptionError(
            f"{option}: got {target}, but folder {target.absolute().parent} cannot be written to"
        )
    if target.absolute().parent == Path("/dev") or (target.exists() and not target.is_file()):
        raise OptionError(f"{option}: got {target}, a device or a pipe, expected the name of a file to write")
    if suffix and target.suffix.lower() != suffix:
        raise OptionError(f"{option}: got {target}, expected a name that ends in {suffix}")


def size_text(size: int) -> str:
    """A number of bytes for a person: in GB, or in MB below one."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB"
