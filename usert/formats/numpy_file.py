"""NumPy's own files: one array of frames, (N, M) or (F, N, M), real or complex; of IQ also with a last axis of 2.

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
from .samples import is_complex, is_number, upright

_ZIP = b"PK"
_FEWEST_LINES = 16
"""A last axis that is shorter than this and than the others holds frames."""


def read_numpy(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """Frames of a `.npy` file, or of one array of a `.npz`, in their order; lines first with `transpose`."""
    try:
        array = _load(path, options.variable)
    except FormatError:
        raise
    except Exception as error:  # for damaged files numpy raises anything from TokenError to zlib.error
        # numpy's own words on what it takes for a pickle tell people to load it unsafely
        why = "" if "allow_pickle" in str(error) else f" ({one_line(error)})"
        raise FormatError(f"{path}: not a sound NumPy file of numbers{why}") from error
    pairs = 1 if options.kind == "iq" and not is_complex(array.dtype) else 0
    axes = array.ndim - pairs
    got = f"{path}: got {array.dtype} {array.shape}"
    if axes not in (2, 3) or not is_number(array.dtype) or (pairs and array.shape[-1] != 2):
        expected = "real numbers (N, M, 2) or (F, N, M, 2)" if pairs else "numbers (N, M) or (F, N, M)"
        raise FormatError(f"{got}, expected {expected}{_remedy(array, pairs)}")
    if axes == 3 and array.shape[2] < min(_FEWEST_LINES, *array.shape[:2]):
        remedy = _remedy(array, pairs) or ": if its frames come last, save np.moveaxis(array, -1, 0)"
        raise FormatError(f"{path}: got {array.shape}, expected frames, samples, lines (F, N, M){remedy}")
    for frame in array if axes == 3 else array[np.newaxis]:
        yield upright(frame, lines_first=options.transpose)


def _remedy(array: Any, pairs: int) -> str:
    if array.dtype.kind not in "iuf":
        return ""
    if pairs and 2 in array.shape[:-1] and array.shape[-1] != 2:
        return f": save np.moveaxis(array, {array.shape.index(2)}, -1)"
    if pairs:
        return ": if I and Q are in turns, --kind iq-pairs (along depth) or iq-lines (a line each)"
    return ": if the last axis is I and Q, --kind iq" if array.shape[-1:] == (2,) else ""


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
