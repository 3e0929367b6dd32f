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
from ..recording.layout import DEFLATE_LIMIT, HDF5_ERRORS, one_line


@contextmanager
def opened(path: Path, what: str) -> Iterator[Any]:
    """The file as h5py opens it. Raises `FormatError`, which calls the file not a sound `what`."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except HDF5_ERRORS as error:
        raise FormatError(f"{path}: not a sound {what} ({one_line(error)})") from error


def names(group: Any) -> list[str]:
    """What is in a group; h5py has names that are no UTF-8 as bytes."""
    return [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in group]


def text_attribute(item: Any, name: str) -> str:
    """An attribute of a group or dataset; empty where it has none, or a damaged link leads nowhere."""
    text = "" if item is None else item.attrs.get(name, "")
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def check_size(path: Path, dataset: Any) -> None:
    """Check that this is a dataset, and the file can hold as much as it claims, even packed. Errors: `FormatError`."""
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise FormatError(f"{path}: {dataset.name} holds no values, expected numbers: damaged?")
    if dataset.nbytes > DEFLATE_LIMIT * path.stat().st_size:
        raise FormatError(
            f"{path}: {dataset.name} claims {dataset.nbytes} bytes, more than its file can hold: damaged"
        )


def values(path: Path, dataset: Any) -> NDArray[Any]:
    """All of a dataset. Errors: as `check_size`."""
    check_size(path, dataset)
    return np.asarray(dataset[()])
