"""NumPy's own files: one array of frames, (N, M) or (F, N, M).

After the public description, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html; numpy reads them.
Invariant: nothing in a file is ever executed.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .options import ImportOptions

_DAMAGED = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)


def read_numpy(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """Frames of a `.npy` file, or of one array of a `.npz`, in their order; (M, N) each with `transpose`."""
    try:
        loaded: Any = np.load(path, allow_pickle=False)
        array = loaded if isinstance(loaded, np.ndarray) else _of(path, loaded, options.variable)
    except _DAMAGED as error:
        raise FormatError(f"{path}: not a sound NumPy file ({' '.join(str(error).split())})") from error
    if array.ndim not in (2, 3) or array.dtype.kind not in "iuf":
        raise FormatError(
            f"{path}: got {array.dtype} {array.shape}, expected real numbers (N, M) or (F, N, M)"
        )
    for frame in array if array.ndim == 3 else array[np.newaxis]:
        yield frame.T if options.transpose else frame


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
