"""Writing a recording: frames appended one by one, each on file when `append` returns.

The layout is that of `usert.recording.layout`. Knows nothing of strain, foreign formats or sockets. Invariant: every
frame that is counted is complete. The writer works in HDF5's single-writer-multiple-reader mode (SWMR) and flushes the
samples, then the truth, then the time; a frame counts once its time is on file. So another process can read the file
while it grows, and a writer that is killed, or whose disk is full, loses at most the frame that it was writing. A power
cut is beyond this promise.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import h5py
from numpy.typing import NDArray

from ..errors import FrameError, RecordingError
from ..frame import RFFrame, Scan
from .device import Device
from .layout import HDF5_ERRORS, Furnish, create_file, left_open, one_line
from .reader import Recording


class RecordingWriter:
    """Appends frames to a recording; the file appears with the first one. NEW → OPEN → CLOSED.

    While it is open a lock keeps every other writer out, readers not. Once the disk has refused a write, every
    further one is refused, and the file stays as it was before.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        resume: bool = False,
        with_truth: bool = False,
        furnish: Furnish | None = None,
    ) -> None:
        """Write a new file at `path`, or with `resume` go on with the one that is there, if any.

        `with_truth`: each frame but the first comes with the motion that led to it; a file that is resumed
        keeps what it has. A file left open by a writer that died, or one not made by usert, is first replaced
        by a sound copy of its complete frames. `furnish` adds groups of its own to a new file; one that has
        such groups is not resumed.
        """
        self.path = Path(path)
        self._with_truth = with_truth
        self._furnish = furnish
        self._file: Any = None
        self._closed = False
        self._count = 0
        self._scan: Scan | None = None
        if not self.path.exists():
            return
        if not resume:
            raise RecordingError(f"{self.path}: already exists, expected a new name: remove it or resume it")
        if left_open(self.path):
            Device(self.path).close()  # raises where its writer lives
        with Recording(self.path) as recording:
            self._count, self._scan = len(recording), recording.scan
            self._with_truth = recording.has_truth
            if recording.appendable and recording.furnished:
                there = ", ".join(map(str, recording.furnished))
                raise RecordingError(
                    f"{self.path}: holds {there} beside its frames, expected frames alone to go on with: name another"
                    " file"
                )
            if left_open(self.path) or not recording.appendable:
                _rewrite(recording)
        if self.path.exists():
            self._open(self.path)

    def __len__(self) -> int:
        """Complete frames on file."""
        return self._count

    def append(self, frame: RFFrame, truth: NDArray[Any] | None = None) -> None:
        """Add `frame`; `truth` (2, N, M) is the motion from the frame before to this one.

        Raises `FrameError` where shape, dtype or scan differ from those on file, `RecordingError` where the
        disk refuses.
        """
        if self._closed:
            raise ValueError(f"{self.path}: append after close")
        if (truth is not None) != (self._with_truth and self._count > 0):
            raise ValueError(f"{self.path}: frame {self._count}: truth goes with every frame but the first")
        if truth is not None and truth.shape != (2, *frame.shape):
            raise FrameError(f"truth: got shape {truth.shape}, expected {(2, *frame.shape)}")
        try:
            if self._file is None:
                self._begin(frame)
            self._check(frame)
            self._write("rf", self._count, frame.samples)
            if truth is not None:
                self._write("truth/displacement", self._count - 1, truth)
            self._write("acquired_ns", self._count, frame.acquired_ns)
        except (OSError, RuntimeError) as error:
            raise RecordingError(f"{self.path}: cannot be written ({one_line(error)})") from error
        self._count += 1

    def put(self, name: str, row: int, values: Any) -> None:
        """Write a row of a dataset that `furnish` made, on file when this returns; after the first frame.

        Raises `RecordingError` where the disk refuses.
        """
        try:
            self._write(name, row, values)
        except (OSError, RuntimeError) as error:
            raise RecordingError(f"{self.path}: cannot be written ({one_line(error)})") from error

    def close(self) -> None:
        """Close the file; may be called again."""
        self._closed = True
        if self._file is not None:
            self._file = None
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, frame: RFFrame) -> None:
        rf = self._file["rf"]
        got, expected = (frame.samples.dtype, frame.samples.shape), (rf.dtype, rf.shape[1:])
        if got != expected:
            raise FrameError(
                f"{self.path}: frame {self._count} is {got[0]} {got[1]}, expected {expected[0]} {expected[1]}"
                f" as before: begin a new recording"
            )
        if frame.scan != self._scan:
            raise FrameError(
                f"{self.path}: frame {self._count} has {frame.scan}, expected {self._scan} as before:"
                f" begin a new recording"
            )

    def _write(self, name: str, row: int, values: Any) -> None:
        self._device.check()
        _put(self._file[name], row, values)
        self._device.check()

    def _begin(self, first: RFFrame) -> None:
        """The file gets its name once it may be read, or a reader could keep its writer out."""
        new = self.path.with_name(self.path.name + ".new")
        try:
            create_file(new, first, with_truth=self._with_truth, furnish=self._furnish)
            self._scan = first.scan
            self._open(new)
            new.replace(self.path)
        finally:
            new.unlink(missing_ok=True)

    def _open(self, path: Path) -> None:
        self._device = Device(path)
        try:
            self._file = h5py.File(self._device, "r+", libver="latest")
        except HDF5_ERRORS as error:
            self._device.close()
            raise RecordingError(f"{self.path}: cannot be appended to ({one_line(error)})") from error
        # At the end of the process, too: HDF5 must not outlive the device.
        self._release = weakref.finalize(self, _close, self._file, self._device)
        try:
            # What a failed append left past the last complete frame is cut off.
            for name, count in (("rf", self._count), ("truth/displacement", max(self._count - 1, 0))):
                if name in self._file:
                    self._file[name].resize(count, axis=0)
            self._file.swmr_mode = True
            self._device.check()
        except HDF5_ERRORS as error:
            self.close()
            raise RecordingError(f"{self.path}: cannot be appended to ({one_line(error)})") from error
        self._device.share()


def write_recording(
    path: str | os.PathLike[str],
    frames: Iterable[RFFrame],
    truths: Iterable[NDArray[Any]] | None = None,
) -> int:
    """Write all `frames` beside `path` (`.part`), then rename, replacing what was there; returns how many.

    `truths` gives the motion from each frame to the next, one fewer than frames. On any error nothing is left behind
    and an older file at `path` is untouched. Errors: those of `RecordingWriter.append`.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    motions = None if truths is None else iter(truths)
    try:
        part.unlink(missing_ok=True)
        with RecordingWriter(part, with_truth=motions is not None) as writer:
            for frame in frames:
                writer.append(frame, next(motions, None) if motions is not None and len(writer) else None)
            if not len(writer):
                raise RecordingError(f"{path}: no frames to write, expected at least one")
        part.replace(path)
        return len(writer)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written ({one_line(error)})") from error
    finally:
        part.unlink(missing_ok=True)


def _rewrite(recording: Recording) -> None:
    """Replace a file that cannot grow by one that can, or remove it where it has no complete frame."""
    if len(recording):
        truths = (recording.truth(k) for k in range(len(recording) - 1)) if recording.has_truth else None
        write_recording(recording.path, recording, truths)
    else:
        recording.path.unlink()


def _close(file: Any, device: Device) -> None:
    try:
        file.close()
    finally:
        device.close()


def _put(dataset: Any, k: int, values: Any) -> None:
    dataset.resize(k + 1, axis=0)
    dataset[k] = values
    dataset.flush()
