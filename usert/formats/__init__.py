"""Vendor and research formats into frames, one module a format.

A format is one function: (path, options) → the arrays in that file, in order, (N, M) each, in whatever type
they are kept. This module makes frames of them. Knows nothing of recordings. Invariant: frames of one import
share one scale and one type, so that amplitudes can be compared between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, OptionError
from ..frame import FRAME_DTYPES, RFFrame
from .clarius import declared_by_clarius, read_clarius
from .declared import Declared
from .matlab import read_alpinion, read_mat
from .metaimage import read_metaimage
from .numpy_file import read_numpy
from .options import ImportOptions, Rows
from .raw import read_raw
from .uff import declared_by_uff, read_uff
from .ultrasonix import read_ultrasonix
from .zea import declared_by_zea, read_zea

__all__ = [
    "READERS",
    "Declared",
    "ForeignFrames",
    "ImportOptions",
    "Reader",
    "Rows",
    "declared",
    "read_frames",
]

Reader = Callable[[Path, ImportOptions], Iterator[NDArray[Any]]]

READERS: dict[str, Reader] = {
    "alpinion": read_alpinion,
    "clarius": read_clarius,
    "mat": read_mat,
    "metaimage": read_metaimage,
    "numpy": read_numpy,
    "raw": read_raw,
    "uff": read_uff,
    "ultrasonix": read_ultrasonix,
    "zea": read_zea,
}
_DECLARED: dict[str, Callable[[Path, str | None], Declared]] = {
    "clarius": declared_by_clarius,
    "uff": declared_by_uff,
    "zea": declared_by_zea,
}
"""Of the formats that may say something of their geometry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignFrames:
    """The frames of some files in order; each iteration reads the files anew."""

    reader: Reader
    paths: tuple[Path, ...]
    options: ImportOptions
    scale: float
    """What stored samples were multiplied by: 1, or for float64 one over the largest magnitude of all, for
    simulated amplitudes of 1e-23 would underflow in float32."""

    def __iter__(self) -> Iterator[RFFrame]:
        for sequence, array in enumerate(_arrays(self.reader, self.paths, self.options)):
            samples = np.ascontiguousarray(_convert(array, self.scale))
            yield RFFrame(samples=samples, scan=self.options.scan, sequence=sequence)


def read_frames(name: str, paths: Sequence[Path], options: ImportOptions) -> ForeignFrames:
    """The frames of files in format `name`, float64 scaled to unit peak over all of them.

    Raises `FormatError` for a file that is not what it was said to be, `OptionError` for a format that does
    not exist; files are read once here to find the scale, and again by each iteration.
    """
    if name not in READERS:
        raise OptionError(f"format: got {name!r}, expected one of {', '.join(READERS)}")
    for path in paths:
        if not path.is_file():
            raise FormatError(f"{path}: no such file")
    reader, peak, doubles, count = READERS[name], 0.0, 0, 0
    for array in _arrays(reader, paths, options):
        count += 1
        if array.dtype == np.float64:
            doubles += 1
            peak = max(peak, float(np.abs(array).max()))
    if count == 0:
        raise FormatError(f"no frames in {', '.join(map(str, paths)) or 'no files'}, expected at least one")
    if doubles not in (0, count):
        raise FormatError(f"{doubles} of {count} frames are float64, expected one type: import them apart")
    scale = 1 / peak if peak > 0 else 1.0
    return ForeignFrames(reader=reader, paths=tuple(paths), options=options, scale=scale)


def declared(name: str, paths: Sequence[Path], variable: str | None = None) -> Declared:
    """What files in format `name` say of their geometry; all must say the same. Errors: as `read_frames`."""
    if name not in READERS:
        raise OptionError(f"format: got {name!r}, expected one of {', '.join(READERS)}")
    for path in paths:
        if not path.is_file():
            raise FormatError(f"{path}: no such file")
    said = {path: _DECLARED[name](path, variable) for path in paths} if name in _DECLARED else {}
    for path, geometry in said.items():
        if geometry != said[paths[0]]:
            raise FormatError(f"{path}: {geometry}, expected that of {paths[0]}: import them apart")
    return said[paths[0]] if said else Declared()


def _arrays(reader: Reader, paths: Sequence[Path], options: ImportOptions) -> Iterator[NDArray[Any]]:
    """The arrays of all files, cut to the rows and checked."""
    for path in paths:
        for k, array in enumerate(reader(path, options)):
            native = array.astype(array.dtype.newbyteorder("="), copy=False)
            if options.rows is not None:
                if options.rows.stop > native.shape[0]:
                    raise FormatError(
                        f"{path}: frame {k} has {native.shape[0]} rows,"
                        f" expected at least {options.rows.stop} for rows"
                        f" {options.rows.start}:{options.rows.stop}"
                    )
                native = native[options.rows.start : options.rows.stop]
            bad = native.size - int(np.count_nonzero(np.isfinite(native)))
            if bad:
                raise FormatError(
                    f"{path}: frame {k} has {bad} samples that are NaN or infinite, expected numbers:"
                    f" cut them off by rows, or mend the file"
                )
            yield native


def _convert(array: NDArray[Any], scale: float) -> NDArray[Any]:
    """To int16 or float32: what is either stays, small integers become int16, all else float32."""
    if array.dtype in FRAME_DTYPES:
        return array
    if array.dtype == np.float64:
        return (array * scale).astype(np.float32)
    return array.astype(np.int16 if array.dtype.itemsize == 1 else np.float32)
