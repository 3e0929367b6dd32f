"""HDF5 of others, opened and read so that a damaged or lying file is one clear line.

Knows no format. Invariant: no array is made that the file is too small for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..recording.layout import HDF5_ERRORS, one_line

DEFLATE_LIMIT = 1032
"""No byte of deflate becomes more bytes than this (https://zlib.net/zlib_tech.html)."""


@contextmanager
def opened(path: Path, what: str) -> Iterator[Any]:
    """The file as h5py opens it. Raises `FormatError`, which calls the file not a sound `what`."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except HDF5_ERRORS as error:
        raise FormatError(f"{path}: not a sound {what} ({one_line(error)})") from error


def check_size(path: Path, dataset: Any) -> None:
    """Check that the file can hold as much as its dataset claims, even packed. Errors: `FormatError`."""
    if dataset.nbytes > DEFLATE_LIMIT * path.stat().st_size:
        raise FormatError(
            f"{path}: {dataset.name} claims {dataset.nbytes} bytes, more than its file can hold: damaged"
        )


def values(path: Path, dataset: Any) -> NDArray[Any]:
    """All of a dataset. Errors: as `check_size`."""
    check_size(path, dataset)
    return np.asarray(dataset[()])
