"""A file of estimates, read again: `usert.runtime.offline.result_file` wrote it.

Knows h5py and the layout; does not judge what is in it. Invariant: one pair at a time is in memory.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from usert.errors import RecordingError
from usert.recording.layout import HDF5_ERRORS, one_line

from ..imaging.estimate import Estimate
from .pairs import Pair
from .result_file import FORMAT, KIND


class StoredResult:
    """Open from construction until the end of its `with` block. Errors: `RecordingError` for all that is no result."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._file: Any = h5py.File(self.path, "r")
        except HDF5_ERRORS as error:
            raise RecordingError(f"{self.path}: not a result of `usert run`: {one_line(error)}") from error
        try:
            self.attributes: dict[str, Any] = dict(self._file.attrs)
            kind, number = self.attributes.get("usert_kind"), self.attributes.get("format")
            if kind != KIND or number != FORMAT:
                raise RecordingError(
                    f"{self.path}: not a result of `usert run`: got kind {kind!r}, format {number}, "
                    f"expected {KIND!r}, {FORMAT}"
                )
            self.pairs: tuple[Pair, ...] = tuple((int(i), int(j)) for i, j in self._file["pairs"])
        except (KeyError, *HDF5_ERRORS) as error:
            self._file.close()
            raise RecordingError(f"{self.path}: damaged result: {one_line(error)}") from error
        except BaseException:
            self._file.close()
            raise

    def estimate(self, index: int) -> Estimate:
        """Of the pair at `index`. Errors: `RecordingError` where it cannot be read."""
        try:
            displacement, strain, quality = (
                np.asarray(self._file[name][index]) for name in ("displacement", "strain", "quality")
            )
        except (KeyError, *HDF5_ERRORS) as error:
            raise RecordingError(f"{self.path}: pair {index} cannot be read: {one_line(error)}") from error
        return Estimate(displacement=displacement, strain=strain, quality=quality)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
