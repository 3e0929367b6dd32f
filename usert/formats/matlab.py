"""MATLAB files: any array of frames in a `.mat` file, and what Alpinion's research scanner saves.

Versions 4 to 7.2 are read by scipy (extra `matlab`); 7.3 is HDF5 and is read here. Invariant: an array comes
out as MATLAB shows it, (N, M) or (N, M, F), whichever version it was saved in.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, MissingExtraError, require
from ..recording.layout import HDF5_ERRORS
from .options import ImportOptions

_BUFFERS = "RcvData"
"""As Verasonics' own scripts call the cells of the receive buffers."""
_NUMERIC = {"double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"}


def read_mat(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """Frames of one numeric variable (N, M) or (N, M, F); its name is needed where there are several."""
    names = _names_v73(path) if h5py.is_hdf5(path) else _names_v5(path)
    name = options.variable
    if name in (None, _BUFFERS) and _has_buffers(path):
        raise FormatError(
            f"{path}: holds {_BUFFERS}, a Verasonics' receive buffers of channel data, expected RF lines: beamform"
            " them, save the lines as an array, and name it by --variable"
        )
    if name is None:
        if len(names) != 1:
            raise FormatError(f"{path}: arrays {', '.join(names) or 'none'}, expected one: name the variable")
        name = names[0]
    elif name not in names:
        raise FormatError(f"{path}: no array {name!r}, expected one of: {', '.join(names) or 'none'}")
    array = _load_v73(path, name) if h5py.is_hdf5(path) else _load_v5(path, [name])[name]
    if array.ndim not in (2, 3) or array.dtype.kind not in "iuf":
        raise FormatError(
            f"{path}: {name} is {array.dtype} {array.shape}, expected real numbers (N, M) or (N, M, F)"
        )
    stack = array[..., np.newaxis] if array.ndim == 2 else array
    for k in range(stack.shape[2]):
        yield stack[:, :, k].T if options.transpose else stack[:, :, k]


def read_alpinion(path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """The one frame of a beamformed Alpinion file: `BfData`, its first `SampleNum` rows."""
    variables = _load_v5(path, ["BfData", "SampleNum", "EnsembleNum"])
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


def _has_buffers(path: Path) -> bool:
    if not h5py.is_hdf5(path):
        return any(name == _BUFFERS for name, _, _ in _scipy(path, "whosmat"))
    try:
        with h5py.File(path, "r") as file:
            return _BUFFERS in file
    except HDF5_ERRORS:
        return False  # whoever reads the names says so


def _count(value: NDArray[Any] | None, default: int) -> int:
    return int(value.flat[0]) if value is not None and value.size and value.dtype.kind in "iuf" else default


def _names_v5(path: Path) -> list[str]:
    listed = _scipy(path, "whosmat")
    return [name for name, shape, kind in listed if kind in _NUMERIC and len(shape) > 1 and min(shape) > 1]


def _load_v5(path: Path, names: list[str]) -> dict[str, NDArray[Any]]:
    loaded = _scipy(path, "loadmat", variable_names=names)
    return {name: np.asarray(loaded[name]) for name in names if name in loaded}


def _scipy(path: Path, function: str, **options: Any) -> Any:
    try:
        return getattr(require("scipy.io", "matlab"), function)(path, **options)
    except (MissingExtraError, MemoryError):
        raise
    except NotImplementedError as error:  # scipy's answer to 7.3
        raise FormatError(f"{path}: MATLAB 7.3, expected version 7 or older: try the format mat") from error
    except Exception as error:  # for damaged files scipy raises anything from TypeError to zlib.error
        raise FormatError(f"{path}: not a sound MATLAB file ({' '.join(str(error).split())})") from error


def _names_v73(path: Path) -> list[str]:
    try:
        with h5py.File(path, "r") as file:
            return [
                name
                for name, item in file.items()
                if isinstance(item, h5py.Dataset) and item.ndim > 1 and min(item.shape) > 1
            ]
    except (OSError, RuntimeError, KeyError) as error:
        raise FormatError(f"{path}: damaged MATLAB 7.3 file ({' '.join(str(error).split())})") from error


def _load_v73(path: Path, name: str) -> NDArray[Any]:
    """HDF5 keeps MATLAB's column-major arrays with their axes in reverse."""
    try:
        with h5py.File(path, "r") as file:
            array: NDArray[Any] = file[name][:].T
            return array
    except (OSError, RuntimeError, KeyError) as error:
        raise FormatError(f"{path}: damaged MATLAB 7.3 file ({' '.join(str(error).split())})") from error
