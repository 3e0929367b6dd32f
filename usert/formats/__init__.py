"""Vendor and research formats into frames, one module a format.

A format is one function, (path, options) → the arrays in that file, in order, (N, M) each, or (N, M, 2), in whatever
type they are kept, and where files state more than samples a second one, (path, options) → `About`. This module makes
frames of them, RF or IQ (`usert.formats.samples`). Knows nothing of recordings. Invariant: frames of one import share
one shape, one scale and one type, so that amplitudes can be compared between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, OptionError
from ..frame import FRAME_DTYPES, Kind, RFFrame, Scan
from .clarius import about_clarius, read_clarius
from .declared import About, Declared
from .files import check_count, list_files, readable
from .isolated import isolated_about, isolated_read
from .matlab import read_alpinion, read_mat
from .metaimage import about_metaimage, read_metaimage
from .nrrd import about_nrrd, read_nrrd
from .numpy_file import read_numpy
from .options import ImportOptions, Rows, SampleKind, agrees
from .raw import read_raw
from .samples import as_frame, kind_of
from .uff import about_uff, read_uff
from .ultrasonix import about_ultrasonix, read_ultrasonix
from .zea import about_zea, read_zea

__all__ = [
    "FORMATS",
    "About",
    "Declared",
    "ForeignFrames",
    "Format",
    "ImportOptions",
    "Rows",
    "SampleKind",
    "about_files",
    "kind_of_files",
    "list_files",
    "read_frames",
    "rows_of_files",
]


@dataclass(frozen=True, slots=True)
class Format:
    """How files of one format are found and read."""

    read: Callable[[Path, ImportOptions], Iterator[NDArray[Any]]]
    endings: tuple[str, ...]
    """How names of such files end; an empty ending fits all names."""
    about: Callable[[Path, ImportOptions], About] = lambda path, options: About()
    named: bool = False
    """A file may hold several arrays, which have names."""


FORMATS: dict[str, Format] = {
    "alpinion": Format(isolated_read(read_alpinion), (".mat",)),
    "clarius": Format(
        read_clarius, ("_rf.raw", "_iq.raw", "_rf.raw.lzo", "_iq.raw.lzo", ".tar"), about_clarius
    ),
    "mat": Format(isolated_read(read_mat), (".mat",), named=True),
    "metaimage": Format(read_metaimage, (".mha", ".mhd"), about_metaimage),
    "nrrd": Format(read_nrrd, (".nrrd", ".nhdr"), about_nrrd),
    "numpy": Format(read_numpy, (".npy", ".npz"), named=True),
    "raw": Format(read_raw, ("",)),
    "uff": Format(isolated_read(read_uff), (".uff",), isolated_about(about_uff), named=True),
    "ultrasonix": Format(read_ultrasonix, (".rf",), about_ultrasonix),
    "zea": Format(isolated_read(read_zea), (".hdf5", ".h5"), isolated_about(about_zea)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignFrames:
    """The frames of some files in order; each iteration reads the files anew."""

    format: Format
    paths: tuple[Path, ...]
    scan: Scan
    options: ImportOptions
    acquired_ns: tuple[int, ...]
    """Time of each frame, 0 where unknown."""
    scale: float
    """What stored samples were multiplied by: 1, or for float64 one over the largest magnitude of all, for
    simulated amplitudes of 1e-23 would underflow in float32."""

    def __iter__(self) -> Iterator[RFFrame]:
        arrays = (array for path in self.paths for array in _arrays(self.format, path, self.options))
        for sequence, (array, time) in enumerate(zip(arrays, self.acquired_ns, strict=True)):
            samples = np.ascontiguousarray(_convert(array, self.scale))
            yield RFFrame(samples=samples, scan=self.scan, sequence=sequence, acquired_ns=time)


def read_frames(
    name: str, paths: Sequence[Path], scan: Scan, options: ImportOptions | None = None
) -> ForeignFrames:
    """The frames of files in format `name`, float64 scaled to unit peak over all of them.

    Raises `FormatError` for a file that is not what it was said to be or whose frames differ from those before,
    `OptionError` for a format that does not exist; files are read once here to find the scale, and again by each
    iteration.
    """
    options = options or ImportOptions()
    kind = _format(name, paths, options)
    peak, doubles, first, times = 0.0, 0, None, list[int]()
    for path in paths:
        count = 0
        for array in _arrays(kind, path, options):
            kept = _kept(array.dtype)
            first = first or (path, array.shape, kept)
            if first[1:] != (array.shape, kept):
                longer = (array.shape[1:], kept) == (first[1][1:], first[2])
                raise FormatError(
                    f"{path}: frame {count} is {_shown(array.shape, kept)}, expected {_shown(*first[1:])}"
                    f" as in {first[0]}: import them apart{', or cut them alike by --rows' * longer}"
                )
            if kind_of(array) != scan.kind:
                raise FormatError(
                    f"{path}: frame {count} is {kind_of(array).upper()}, expected {scan.kind.upper()}, as the scan is:"
                    " demodulation_hz is that of IQ, and of IQ only"
                )
            count += 1
            if array.dtype == np.float64:
                doubles += 1
                peak = max(peak, float(np.abs(array).max()))
        times += _about(kind, path, options).acquired_ns or (0,) * count
    if first is None:
        raise FormatError(f"no frames in {', '.join(map(str, paths)) or 'no files'}, expected at least one")
    if doubles not in (0, len(times)):
        raise FormatError(
            f"{doubles} of {len(times)} frames are float64, expected one type: import them apart"
        )
    return ForeignFrames(
        format=kind,
        paths=tuple(paths),
        scan=scan,
        options=options,
        acquired_ns=tuple(times),
        scale=1 / peak if peak > 0 else 1.0,
    )


def about_files(name: str, paths: Sequence[Path], options: ImportOptions | None = None) -> About:
    """What files in format `name` state; all must state the same geometry. Errors: as `read_frames`."""
    options = options or ImportOptions()
    kind = _format(name, paths, options)
    stated = {(path, one): _about(kind, path, one) for path in paths for one in options.one_by_one()}
    first = next(iter(stated.values()), About())
    for (path, _), about in stated.items():
        if (about.geometry, about.kind) != (first.geometry, first.kind):
            raise FormatError(f"{path}: states {about}, expected {first} as {paths[0]}: import them apart")
    notes = [note for about in stated.values() for note in about.notes]
    if options.kind is not None and first.kind is not None and not agrees(first.kind, options.kind):
        notes.append(
            f"--kind {options.kind}: taken, but the file states {first.kind}; leave the option out to take that"
        )
    return About(kind=first.kind, geometry=first.geometry, notes=tuple(notes))


def kind_of_files(name: str, paths: Sequence[Path], options: ImportOptions | None = None) -> Kind:
    """Whether the first frame of files in format `name` is RF or IQ. Errors: as `read_frames`."""
    options = options or ImportOptions()
    kind = _format(name, paths, options)
    frame = next((array for path in paths for array in _arrays(kind, path, options)), None)
    return "rf" if frame is None else kind_of(frame)


def rows_of_files(name: str, paths: Sequence[Path], options: ImportOptions | None = None) -> int:
    """Axial samples that are kept of the first frame of files in format `name`, 0 without one.

    Errors: as `read_frames`.
    """
    options = options or ImportOptions()
    kind = _format(name, paths, options)
    return next((array.shape[0] for path in paths for array in _arrays(kind, path, options)), 0)


def _format(name: str, paths: Sequence[Path], options: ImportOptions) -> Format:
    if name not in FORMATS:
        raise OptionError(f"format: got {name!r}, expected one of {', '.join(FORMATS)}")
    if options.variables and not FORMATS[name].named:
        raise OptionError(f"variable: got {options.variable}, expected none: arrays in {name} have no names")
    for path in paths:
        if not path.is_file():
            raise FormatError(f"{path}: no such file")
    return FORMATS[name]


def _about(kind: Format, path: Path, options: ImportOptions) -> About:
    with readable(path):
        return kind.about(path, options)


def _arrays(kind: Format, path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """The frames of a file, (N, M) of RF and (N, M, 2) of IQ, cut to the rows and checked."""
    rows = options.rows
    with readable(path):
        for k, frame in enumerate(_whole(kind, path, options)):
            if rows is not None:
                if rows.stop > frame.shape[0]:
                    raise FormatError(
                        f"{path}: frame {k} has {frame.shape[0]} rows,"
                        f" expected at least {rows.stop} for rows {rows.start}:{rows.stop}"
                    )
                frame = frame[rows.start : rows.stop]
            bad = frame.size - int(np.count_nonzero(np.isfinite(frame)))
            if bad:
                raise FormatError(
                    f"{path}: frame {k} has {bad} samples that are NaN or infinite, expected numbers:"
                    f" cut them off by rows, or mend the file"
                )
            check_count(path, k + 1, frame.size)
            yield frame


def _whole(kind: Format, path: Path, options: ImportOptions) -> Iterator[NDArray[Any]]:
    """The frames of a file with all of their rows."""
    count = 0
    for one in options.one_by_one():
        samples = options.kind or kind.about(path, one).kind
        for array in kind.read(path, one):
            yield as_frame(f"{path}: frame {count}", array, samples)
            count += 1


def _kept(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What is int16 or float32 stays, small integers become int16, all else float32."""
    if dtype in FRAME_DTYPES:
        return dtype
    return np.dtype(np.int16 if dtype.itemsize == 1 else np.float32)


def _convert(array: NDArray[Any], scale: float) -> NDArray[Any]:
    return (array * scale if array.dtype == np.float64 else array).astype(_kept(array.dtype), copy=False)


def _shown(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    return f"{' x '.join(map(str, shape))} {dtype}"
