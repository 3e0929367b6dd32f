"""NumPy's own files: one array of frames, (N, M) or (F, N, M).

After the public description, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html; numpy reads them.
Invariant: nothing in a file is ever executed, and a `.npy` file is mapped, not loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..recording.layout import one_line
from .options import ImportOptions

_ZIP = b"PK"
_FEWEST_LINES = 16
"""A last axis that is shorter than this and than the others holds frames."""


def read_numpy(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """Frames of a `.npy` file, or of one array of a `.npz`, in their order; (M, N) each with `transpose`."""
    try:
        array = _load(path, options.variable)
    except FormatError:
        raise
    except Exception as error:  # for damaged files numpy raises anything from TokenError to zlib.error
        raise FormatError(f"{path}: not a sound NumPy file ({one_line(error)})") from error
    if array.ndim not in (2, 3) or array.dtype.kind not in "iuf":
        iq = " (IQ, which is not read yet)" if array.dtype.kind == "c" else ""
        raise FormatError(
            f"{path}: got {array.dtype} {array.shape}{iq}, expected real numbers (N, M) or (F, N, M)"
        )
    if array.ndim == 3 and array.shape[2] < min(_FEWEST_LINES, *array.shape[:2]):
        raise FormatError(
            f"{path}: got {array.shape}, expected frames, samples, lines (F, N, M): if its frames come last, save"
            f" np.moveaxis(array, -1, 0)"
        )
    for frame in array if array.ndim == 3 else array[np.newaxis]:
        yield frame.T if options.transpose else frame


def _load(path: Path, name: str | None) -> NDArray[Any]:
    with path.open("rb") as file:
        if file.read(len(_ZIP)) == _ZIP:
            file.seek(0)
            return _of(path, np.load(file, allow_pickle=False), name)
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _of(path: Path, archive: Any, name: str | None) -> NDArray[Any]:
    with archive:
        names = list(archive)
        if name is None and len(names) == 1:
            name = names[0]
        if name not in names:
            asked = "expected one: name it by --variable" if name is None else f"expected {name!r} among them"
            raise FormatError(f"{path}: arrays {', '.join(names) or 'none'}, {asked}")
        array: NDArray[Any] = archive[name]
        return array
