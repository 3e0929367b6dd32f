"""MATLAB files: any arrays of frames in a `.mat` file, and what Alpinion's research scanner saves.

Which arrays there are and how they are addressed: `usert.formats.matlab_arrays`. Knows which of them can be frames.
Invariant: samples come first, then lines, then frames, or the file is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import FormatError
from ..strain import STRAIN_WINDOW_SAMPLES
from .matlab_arrays import MatArray, listed, load_v5, mat_arrays, named
from .options import ImportOptions
from .samples import is_complex, is_number, upright

_BUFFERS = "RcvData"
"""As Verasonics' own scripts call the cells of the receive buffers."""
_FEWEST_LINES = 16


def read_mat(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """Frames of one array, or of all elements of one struct array or cell; it is named where there are several.

    Axes are samples, lines and, where there are three, frames; further ones of length 1 do not count. With kind `iq`
    real numbers have a last axis of 2.
    """
    with mat_arrays(path) as arrays:
        for array in _chosen(path, arrays, options.variable):
            stack = _stack(path, array, options)
            for k in range(stack.shape[2]):
                yield upright(stack[:, :, k], lines_first=options.transpose)


def read_alpinion(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """The one frame of a beamformed Alpinion file: `BfData`, its first `SampleNum` rows."""
    variables = load_v5(path, ["BfData", "SampleNum", "EnsembleNum"])
    if "BfData" not in variables:
        raise FormatError(f"{path}: no BfData, expected a beamformed Alpinion file: try the format mat")
    data = variables["BfData"]
    valid = _count(variables.get("SampleNum"), data.shape[0])
    ensembles = _count(variables.get("EnsembleNum"), 1)
    if data.ndim != 2 or not 0 < valid <= data.shape[0]:
        raise FormatError(f"{path}: BfData is {data.shape}, SampleNum {valid}, expected (N >= SampleNum, M)")
    if ensembles != 1:
        raise FormatError(f"{path}: EnsembleNum is {ensembles}, expected 1: Doppler data is no B-mode frame")
    yield data[:valid].T if options.transpose else data[:valid]


def _chosen(path: Path, arrays: list[MatArray], name: str | None) -> list[MatArray]:
    if name in (None, _BUFFERS) and any(a.place == _BUFFERS for a in arrays):
        raise FormatError(
            f"{path}: holds {_BUFFERS}, a Verasonics' receive buffers of channel data, expected lines: beamform"
            " them, save the lines as an array, and name it by --variable"
        )
    if name is None:
        variables = [a for a in arrays if a.address == a.place.partition(".")[0]]
        found = [a for a in variables if _has_lines(a)]
        if len(found) != 1:
            expected = "expected one array, samples x lines or samples x lines x frames"
            some = any(_has_lines(a) for a in arrays)
            remedy = "name it by --variable" if some else "none of those there has samples and lines"
            raise FormatError(f"{path}: holds {listed(arrays)}, {expected}: {remedy}")
        return found
    found = named(arrays, name)
    if not found:
        raise FormatError(f"{path}: no array {name!r}, expected one of those there: {listed(arrays)}")
    return found


def _has_lines(array: MatArray) -> bool:
    return sum(length > 1 for length in array.shape) > 1


def _stack(path: Path, array: MatArray, options: ImportOptions) -> NDArray[Any]:
    """(N, M, F), or (M, N, F) where the file holds lines first; of pairs (…, 2)."""
    paired = options.kind == "iq" and array.shape[2:][-1:] == (2,) and not is_complex(array.load().dtype)
    axes = array.shape[:-1] if paired else array.shape
    shape = (*axes[:2], *(length for length in axes[2:] if length > 1))
    what = f"{path}: {array.address} is {' x '.join(map(str, array.shape))}"
    expected = "expected samples x lines (N, M) or samples x lines x frames (N, M, F)"
    fewest = _FEWEST_LINES if options.transpose else STRAIN_WINDOW_SAMPLES
    if len(shape) == 3 and shape[0] < min(fewest, *shape[1:]):
        order = " ".join(map(str, (2, 3, 1, *range(4, len(axes) + 1))))
        raise FormatError(
            f"{what}, {expected}: if its frames come first, save permute({array.address}, [{order}])"
            + ("" if options.transpose else "; if its lines do, say --transpose")
        )
    if len(shape) > 3:
        raise FormatError(f"{what}, {expected}: save one of its ensembles or planes as an array of its own")
    if min(shape) < 1 or min(shape[:2]) == 1:
        raise FormatError(f"{what}, one line or none, {expected}: reshape it to its lines, and save it again")
    values = array.load()
    if not is_number(values.dtype):
        raise FormatError(f"{what} of {values.dtype}, expected numbers")
    if values.shape != array.shape:
        raise FormatError(f"{what}, but holds {values.shape}, expected one shape: damaged")
    return values.reshape((*(*shape, 1)[:3], *(2,) * paired))


def _count(value: NDArray[Any] | None, default: int) -> int:
    return int(value.flat[0]) if value is not None and value.size and value.dtype.kind in "iuf" else default
