"""What an HDF5 recording looks like, and the one place that judges whether a file is one.

    /rf                  (F, N, M) int16 or float32, one chunk a frame
    /acquired_ns         (F,) int64, wall clock (Unix epoch); may be missing, then all 0
    /truth/displacement  (F - 1, 2, N, M) float32, optional: motion from frame k to k + 1 on the grid of
                         frame k, axial in samples and lateral in lines, post(r + d) = pre(r)
    attributes           fs_hz, f0_hz, sound_speed_m_s, line_pitch_mm; and of our own making usert_kind and
                         format, which a file made by hand need not have

Further groups may stand beside these, such as those of a live server's record; they are nothing to a recording.

Does not read or write samples. Invariant: a `Layout` that exists can be read; every other file has become
one `RecordingError` that names its fault.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FrameError, RecordingError
from ..frame import FRAME_DTYPES, RFFrame, Scan
from .device import Device

KIND = "recording"
FORMAT = 1
GEOMETRY = tuple(field.name for field in fields(Scan))
"""Names of the root attributes that make the `Scan`."""
HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError)
"""What h5py raises for damaged files."""
DEFLATE_LIMIT = 1032
"""No byte of deflate becomes more bytes than this (https://zlib.net/zlib_tech.html)."""
OWN = ("rf", "acquired_ns", "truth")
"""Members of the root that are the recording's own."""
Furnish = Callable[[Any], None]
"""Adds groups and attributes to an `h5py.File` that is being made."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The parts of an open recording, checked."""

    scan: Scan
    rf: Any
    """Dataset (≥ F, N, M); a writer that died may have left more than the F complete frames."""
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
            rf = _rf(file, path)
            acquired_ns = _times(file, path, rf.shape[0], ours)
            return cls(
                scan=_scan(file, path),
                rf=rf,
                dtype=rf.dtype.newbyteorder("="),
                acquired_ns=acquired_ns,
                truth=_truth(file, path, len(acquired_ns), rf.shape[1:]),
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
        return h5py.File(path, "r", swmr=left_open(path))
    except HDF5_ERRORS as error:
        reason = one_line(error)
        if "truncated" in reason:
            reason = f"truncated, only {path.stat().st_size} bytes of it are there: copy it again"
        elif "signature" in reason:
            reason = "not an HDF5 file, expected a recording: see `usert import` for other formats"
        else:
            reason = f"cannot be opened ({reason})"
        raise RecordingError(f"{path}: {reason}") from error


def create_file(path: Path, frame: RFFrame, *, with_truth: bool, furnish: Furnish | None = None) -> None:
    """An empty recording for frames like `frame`, in the place of what is there. Raises `OSError`."""
    with closing(Device(path, new=True)) as device:
        with h5py.File(device, "w", libver="latest") as file:
            file.attrs["usert_kind"] = KIND
            file.attrs["format"] = FORMAT
            for name in GEOMETRY:
                file.attrs[name] = getattr(frame.scan, name)
            add_growing(file, "rf", frame.shape, frame.samples.dtype)
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


def _rf(file: Any, path: Path) -> Any:
    rf = file.get("rf")
    if not isinstance(rf, h5py.Dataset):
        found = ", ".join(file) or "nothing"
        raise RecordingError(f"{path}: no dataset 'rf' (found {found}), expected (F, N, M) RF samples")
    if rf.ndim != 3 or 0 in rf.shape[1:]:
        raise RecordingError(f"{path}: rf has shape {rf.shape}, expected (frames, axial samples, scan lines)")
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


def _times(file: Any, path: Path, frames: int, ours: bool) -> NDArray[np.int64]:
    times = file.get("acquired_ns")
    if times is None and not ours:
        return np.zeros(frames, np.int64)
    if not isinstance(times, h5py.Dataset) or times.ndim != 1 or times.dtype.kind not in "iu":
        found = f"{times.dtype} {times.shape}" if isinstance(times, h5py.Dataset) else "no dataset"
        raise RecordingError(f"{path}: acquired_ns is {found}, expected int64 (frames,)")
    count = times.shape[0]
    if count > frames or (count < frames and not ours):
        raise RecordingError(f"{path}: acquired_ns has {count} entries, expected {frames}, one a frame")
    _check_size(times, path)
    values: NDArray[np.int64] = times[:].astype(np.int64)
    return values


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
    missing = [name for name in GEOMETRY if name not in file.attrs]
    if missing:
        raise RecordingError(
            f"{path}: no root attribute {', '.join(missing)}, expected {', '.join(GEOMETRY)}:"
            f" set it with h5py, file.attrs[{missing[0]!r}] = value"
        )
    for name in GEOMETRY:
        if not _in_place(file, name):
            raise RecordingError(f"{path}: root attribute {name} is text or a list, expected one number")
    values = {name: np.asarray(file.attrs[name]) for name in GEOMETRY}
    for name, value in values.items():
        if value.size != 1 or value.dtype.kind not in "iuf":
            raise RecordingError(f"{path}: root attribute {name} is {value.tolist()!r}, expected one number")
    try:
        return Scan(**{name: float(value.item()) for name, value in values.items()})
    except FrameError as error:
        raise RecordingError(f"{path}: root attribute {error}") from error
