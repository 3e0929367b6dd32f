"""What an HDF5 recording looks like, and the one place that judges whether a file is one.

    /rf                  (F, N, M) int16 or float32, one chunk a frame; of IQ (F, N, M, 2), in-phase and quadrature
    /acquired_ns         (F,) int64, wall clock (Unix epoch); may be missing, then all 0
    /truth/displacement  (F - 1, 2, N, M) float32, optional: motion from frame k to k + 1 on the grid of
                         frame k, axial in samples and lateral in lines, post(r + d) = pre(r)
    attributes           fs_hz, f0_hz, sound_speed_m_s, line_pitch_mm; of IQ demodulation_hz, a number or (K, 2) rows
                         and Hz; of curved and phased arrays radius_mm and line_angle_deg; first_depth_mm; and of our
                         own making usert_kind and format, which a file made by hand need not have

Further groups may stand beside these, such as those of a live server's record; they are nothing to a recording.

Does not read or write samples. Invariant: a `Layout` that exists can be read; every other file has become
one `RecordingError` that names its fault.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FrameError, RecordingError
from ..frame import FRAME_DTYPES, PLAIN_GEOMETRY, RFFrame, Scan
from .device import Device

KIND = "recording"
FORMAT = 1
GEOMETRY = tuple(field.name for field in fields(Scan))
"""Names of the root attributes that make the `Scan`; those of `PLAIN_GEOMETRY` are always there."""
HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises for damaged files."""
DEFLATE_LIMIT = 1032
"""No byte of deflate becomes more bytes than this (https://zlib.net/zlib_tech.html)."""
_EXAMPLES = {"fs_hz": 40e6, "f0_hz": 6.25e6, "demodulation_hz": 6.25e6, "sound_speed_m_s": 1540.0}
OWN = ("rf", "acquired_ns", "truth")
"""Members of the root that are the recording's own."""
Furnish = Callable[[Any], None]
"""Adds groups and attributes to an `h5py.File` that is being made."""

_ATTEMPTS = 30
"""Take a second in all, the first wait being a nanosecond."""
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The parts of an open recording, checked."""

    scan: Scan
    rf: Any
    """Dataset (≥ F, N, M), of IQ (≥ F, N, M, 2); a writer that died may have left more than the F complete frames."""
    dtype: np.dtype[Any]
    """Of the samples in native byte order."""
    acquired_ns: NDArray[np.int64]
    """(F,): its length is the number of complete frames."""
    truth: Any | None
    """Dataset (≥ F - 1, 2, N, M)."""
    appendable: bool
    """Whether it was made by usert, so that it can grow in place."""

    @classmethod
    def read(cls, file: Any, path: Path) -> Self:
        """Check an open `h5py.File`. Raises `RecordingError`."""
        try:
            _check_kind(file, path)
            ours = "usert_kind" in file.attrs
            scan = _scan(file, path)
            times = _times(file, path, ours)  # before the frames, which a writer puts on file first
            rf = _rf(file, path, scan)
            acquired_ns = _of_frames(times, path, rf.shape[0], ours)
            return cls(
                scan=scan,
                rf=rf,
                dtype=rf.dtype.newbyteorder("="),
                acquired_ns=acquired_ns,
                truth=_truth(file, path, len(acquired_ns), rf.shape[1:3]),
                appendable=ours,
            )
        except HDF5_ERRORS as error:
            raise RecordingError(f"{path}: damaged or truncated ({one_line(error)})") from error


def left_open(path: Path) -> bool:
    """Whether a writer has the file open, or died with it open (consistency flags of the superblock)."""
    with path.open("rb") as file:
        head = file.read(12)
    return len(head) == 12 and head[:8] == _SIGNATURE and head[8] >= 3 and head[11] != 0


def open_file(path: Path) -> Any:
    """Open for reading, also while a writer appends or after it was killed. Raises `RecordingError`."""
    if not path.exists():
        raise RecordingError(f"{path}: no such file, expected an HDF5 recording")
    try:
        return _open_growing(path) if left_open(path) else h5py.File(path, "r")
    except HDF5_ERRORS as error:
        reason = one_line(error)
        if "truncated" in reason:
            reason = f"truncated, only {path.stat().st_size} bytes of it are there: copy it again"
        elif "signature" in reason:
            reason = "not an HDF5 file, expected a recording: see `usert import` for other formats"
        else:
            reason = f"cannot be opened ({reason})"
        raise RecordingError(f"{path}: {reason}") from error


def _open_growing(path: Path) -> Any:
    """Open in SWMR mode, in which libhdf5 reads what it finds damaged again, for there may be a writer at work: 100
    times, and waits twice as long each time. h5py has no setting for that."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_EARLIEST, h5py.h5f.LIBVER_LATEST)
    limit = getattr(ctypes.CDLL(h5py.h5p.__file__), "H5Pset_metadata_read_attempts", None)
    if limit is not None:
        limit.argtypes = [ctypes.c_int64, ctypes.c_uint]
        limit(access.id, _ATTEMPTS)
    return h5py.File(
        h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDONLY | h5py.h5f.ACC_SWMR_READ, fapl=access)
    )


def create_file(path: Path, frame: RFFrame, *, with_truth: bool, furnish: Furnish | None = None) -> None:
    """An empty recording for frames like `frame`, in the place of what is there. Raises `OSError`."""
    with closing(Device(path, new=True)) as device:
        with h5py.File(device, "w", libver="latest") as file:
            file.attrs["usert_kind"] = KIND
            file.attrs["format"] = FORMAT
            file.attrs.update(frame.scan.stated)
            add_growing(file, "rf", frame.samples.shape, frame.samples.dtype)
            add_growing(file, "acquired_ns", (), np.int64)
            if with_truth:
                add_growing(file, "truth/displacement", (2, *frame.shape), np.float32)
            if furnish is not None:
                furnish(file)
        device.check()


def one_line(error: BaseException) -> str:
    """The text of a foreign error without its line breaks, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def add_growing(file: Any, name: str, shape: tuple[int, ...], dtype: Any, *, rows: int = 1024) -> None:
    """An empty dataset of rows of `shape`, one chunk a row; of rows that are scalars, `rows` a chunk."""
    chunks = (1, *shape) if shape else (rows,)
    file.create_dataset(name, (0, *shape), dtype=dtype, maxshape=(None, *shape), chunks=chunks)


def _check_kind(file: Any, path: Path) -> None:
    if "usert_kind" not in file.attrs:
        return
    if _in_place(file, "usert_kind") or "rf" not in file:
        kind = file.attrs["usert_kind"]
        kind = kind.decode("utf-8", "replace") if isinstance(kind, bytes) else str(kind)
        if kind != KIND:
            raise RecordingError(f"{path}: a file of kind {kind!r}, expected a recording of RF frames")
    number = file.attrs["format"] if "format" in file.attrs and _in_place(file, "format") else FORMAT
    if number != FORMAT:
        raise RecordingError(f"{path}: recording format {number}, expected {FORMAT}: update usert")


def _in_place(file: Any, name: str) -> bool:
    """Whether an attribute is not of variable length: those lie in a heap, in which libhdf5 searches without end where
    it is damaged."""
    return not file.attrs.get_id(name).dtype.hasobject


def _rf(file: Any, path: Path, scan: Scan) -> Any:
    rf = file.get("rf")
    if not isinstance(rf, h5py.Dataset):
        found = ", ".join(map(str, file)) or "nothing"
        raise RecordingError(f"{path}: no dataset 'rf' (found {found}), expected (F, N, M) RF samples")
    axes, expected = {
        "rf": (3, "(frames, axial samples, scan lines); IQ needs the root attribute demodulation_hz"),
        "iq": (
            4,
            "(frames, axial samples, scan lines, 2): in-phase and quadrature, for demodulation_hz is there",
        ),
    }[scan.kind]
    if rf.ndim != axes or 0 in rf.shape[1:] or rf.shape[3:] not in ((), (2,)):
        raise RecordingError(f"{path}: rf has shape {rf.shape}, expected {expected}")
    if rf.dtype.newbyteorder("=") not in FRAME_DTYPES:
        raise RecordingError(
            f"{path}: rf has dtype {rf.dtype}, expected int16 or float32: convert it and save it again"
        )
    _check_size(rf, path)
    return rf


def _check_size(dataset: Any, path: Path) -> None:
    """What was never written takes no place in a file, but memory when it is read."""
    if dataset.nbytes > DEFLATE_LIMIT * path.stat().st_size:
        raise RecordingError(
            f"{path}: {dataset.name} claims {dataset.nbytes} bytes, more than its file can hold: damaged"
        )


def _times(file: Any, path: Path, ours: bool) -> NDArray[np.int64] | None:
    times = file.get("acquired_ns")
    if times is None and not ours:
        return None
    if not isinstance(times, h5py.Dataset) or times.ndim != 1 or times.dtype.kind not in "iu":
        found = f"{times.dtype} {times.shape}" if isinstance(times, h5py.Dataset) else "no dataset"
        raise RecordingError(f"{path}: acquired_ns is {found}, expected int64 (frames,): whole nanoseconds")
    _check_size(times, path)
    values: NDArray[np.int64] = times[:].astype(np.int64)
    return values


def _of_frames(times: NDArray[np.int64] | None, path: Path, frames: int, ours: bool) -> NDArray[np.int64]:
    if times is None:
        return np.zeros(frames, np.int64)
    if len(times) > frames or (len(times) < frames and not ours):
        raise RecordingError(f"{path}: acquired_ns has {len(times)} entries, expected {frames}, one a frame")
    return times


def _truth(file: Any, path: Path, frames: int, shape: tuple[int, int]) -> Any | None:
    truth = file.get("truth/displacement")
    if truth is None:
        return None
    pairs = max(frames - 1, 0)
    found: tuple[int, ...] = truth.shape if isinstance(truth, h5py.Dataset) else ()
    if len(found) != 4 or found[0] < pairs or found[1:] != (2, *shape):
        raise RecordingError(
            f"{path}: truth/displacement has shape {found}, expected {(pairs, 2, *shape)}: (F - 1, 2, N, M)"
        )
    _check_size(truth, path)
    return truth


def _scan(file: Any, path: Path) -> Scan:
    missing = [name for name in PLAIN_GEOMETRY if name not in file.attrs]
    if missing:
        raise RecordingError(
            f"{path}: no root attribute {', '.join(missing)}, expected {', '.join(PLAIN_GEOMETRY)}:"
            f" set it with h5py, file.attrs[{missing[0]!r}] = value"
        )
    there = [name for name in GEOMETRY if name in file.attrs]
    for name in there:
        if not _in_place(file, name):
            raise RecordingError(
                f"{path}: root attribute {name} is text or a list, expected one number, as of"
                f" file.attrs[{name!r}] = {_EXAMPLES.get(name, 0.2)}"
            )
    values = {name: np.asarray(file.attrs[name]) for name in there}
    told: dict[str, Any] = {}
    for name, value in values.items():
        steps = name == "demodulation_hz" and value.ndim == 2
        if value.dtype.kind not in "iuf" or not (steps or value.size == 1):
            raise RecordingError(
                f"{path}: root attribute {name} is {value.tolist()!r:.80}, expected one number"
            )
        told[name] = tuple(map(tuple, value.tolist())) if steps else float(value.item())
    try:
        return Scan(**told)
    except FrameError as error:
        raise RecordingError(f"{path}: root attribute {error}") from error
