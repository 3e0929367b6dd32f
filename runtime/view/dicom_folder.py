"""The folder of the page server that DICOM objects are saved in.

Invariant: a file is complete under its name or absent; a name holds a time and a random number, nothing of the case.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from usert.errors import OptionError

from ..offline.outputs import beside
from .case import Refusal

RESERVE_BYTES = 256 << 20
"""Disk space that saving leaves free."""
MOST_FILES = 10_000
"""Largest number of DICOM files in the folder: beyond it nothing is saved there, whoever asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomFolder:
    """A folder that exists."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> DicomFolder:
        """The folder at `path`. Errors: `OptionError`."""
        if not path.is_dir():
            raise OptionError(f"--dicom-folder: there is no folder {path}: make it first")
        if not os.access(path, os.W_OK | os.X_OK):
            raise OptionError(f"--dicom-folder: {path} cannot be written to")
        return cls(path=path)

    def save(self, name: str, content: bytes) -> None:
        """Write `content` to the new file `name`. Errors: `Refusal`."""
        try:
            if shutil.disk_usage(self.path).free < RESERVE_BYTES + len(content):
                raise Refusal(
                    "dicom.disk_full", "DICOM: the disk of the page's server is full; nothing was saved"
                )
            if sum(entry.name.endswith(".dcm") for entry in os.scandir(self.path)) >= MOST_FILES:
                line = f"DICOM: the folder holds {MOST_FILES} files: move them away; nothing was saved"
                raise Refusal("dicom.folder_full", line, count=MOST_FILES)
            with beside(self.path / name) as part, part.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, OptionError) as error:
            line = f"DICOM: the page's server could not write the file ({_reason(error)}); nothing was saved"
            raise Refusal("dicom.not_written", line, reason=_reason(error)) from error


def _reason(error: Exception) -> str:
    """What the system says, without paths."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return (cause.strerror or "error") if isinstance(cause, OSError) else "error"
