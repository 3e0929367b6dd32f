"""The recording: RF frames of one geometry in an HDF5 file, read lazily; `usert.recording.writer` appends to it.

The layout is that of `usert.recording.layout`. Knows nothing of strain, foreign formats or sockets. Invariant: every
frame that is counted is complete, also of a file that grows, or whose writer was killed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import RecordingError
from ..frame import RFFrame, Shape
from ..iq import motion_at_rows, rf_rows, rf_scan, turned_up
from .layout import HDF5_ERRORS, OWN, Layout, one_line, open_file

_FARTHEST = 1e9
"""Samples or lines that no tissue moves: further is damage."""


class Recording:
    """A recording opened for reading; a frame is read when it is asked for.

    Open from construction until `close` or the end of its `with` block. The length is that at opening, also
    where a writer is still appending.

    Parameters
    ----------
    path
        An HDF5 file as `docs/files.md` specifies it, by `usert import`, `usert serve --record` or another program.
    as_rf
        Whether IQ is turned up to RF as it is read (`usert.iq`): frames, truth, shape and scan are then those of the
        RF.

    Raises
    ------
    usert.errors.RecordingError
        For a file that is missing, damaged or no recording, and for a frame that is not there.

    Examples
    --------
    Two simulated frames, written and read again:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from usert.phantom.scanner import ScannerConfig, SimulatedScanner
    >>> from usert.recording import Recording, write_recording
    >>> scanner = SimulatedScanner(ScannerConfig(shape=(256, 64)), seed=0)
    >>> path = Path(tempfile.mkdtemp()) / "rec.h5"
    >>> write_recording(path, [scanner.frame(0), scanner.frame(1)])
    2
    >>> with Recording(path) as recording:
    ...     len(recording), recording.shape, recording.frame(1).samples.dtype.name
    (2, (256, 64), 'int16')
    """

    def __init__(self, path: str | os.PathLike[str], *, as_rf: bool = False) -> None:
        self.path = Path(path)
        self._file = open_file(self.path)
        try:
            self._layout = Layout.read(self._file, self.path)
        except BaseException:
            self._file.close()
            raise
        self.scan = self._layout.scan
        """Geometry and frequencies of the frames."""
        self.shape: Shape = self._layout.rf.shape[1:3]
        """(N, M): axial samples, scan lines."""
        self.kind = self.scan.kind
        """Whether the file holds RF or IQ."""
        self._turned_up = as_rf and self.kind == "iq"
        self.rows_a_row = 1.0
        """Rows of a frame for a row of the file; more than one where IQ is turned up to RF."""
        if self._turned_up:
            rows, lines = self.shape
            self.shape = rf_rows(rows, self.scan), lines
            self.scan = rf_scan(self.scan, rows, self.shape[0])
            self.rows_a_row = self.shape[0] / rows

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples, int16 or float32."""
        return np.dtype(np.float32) if self._turned_up else self._layout.dtype

    @property
    def acquired_ns(self) -> NDArray[np.int64]:
        """(F,): wall clock of each frame, 0 when unknown."""
        return self._layout.acquired_ns

    @property
    def has_truth(self) -> bool:
        """Whether the true motion is known, as that of a simulated scanner."""
        return self._layout.truth is not None

    @property
    def appendable(self) -> bool:
        """Whether usert made it, so that it can grow in place."""
        return self._layout.appendable

    def __len__(self) -> int:
        return len(self._layout.acquired_ns)

    def frame(self, k: int) -> RFFrame:
        """Frame `k` from 0; its `sequence` is k, its `time_ns` the wall clock of acquisition."""
        self._check_index(k, len(self), "frame")
        samples = self._read(self._layout.rf, k, f"frame {k}").astype(self._layout.dtype, copy=False)
        if self._turned_up:
            samples = turned_up(samples, self._layout.scan, self.shape[0])
        time_ns = int(self.acquired_ns[k])
        return RFFrame(samples=samples, scan=self.scan, sequence=k, time_ns=time_ns, acquired_ns=time_ns)

    def truth(self, k: int) -> NDArray[np.float32]:
        """(2, N, M): true motion from frame k to k + 1 on the grid of frame k.

        Errors: `RecordingError` without truth, and for values that are no displacement.
        """
        if self._layout.truth is None:
            raise RecordingError(f"{self.path}: no truth/displacement, expected a simulated recording")
        self._check_index(k, len(self) - 1, "truth")
        motion = self._read(self._layout.truth, k, f"truth {k}").astype(np.float32, copy=False)
        if not (np.abs(motion) < _FARTHEST).all():  # nor is NaN
            raise RecordingError(
                f"{self.path}: truth {k}: got values that are NaN, infinite or beyond {_FARTHEST:g} samples, expected "
                "displacements: damaged?"
            )
        return motion_at_rows(motion, self.shape[0]) if self._turned_up else motion

    @property
    def furnished(self) -> dict[str, Any]:
        """Groups and datasets that the file holds beside frames and truth, by name."""
        return {name: self._file[name] for name in self._file if name not in OWN}

    def __iter__(self) -> Iterator[RFFrame]:
        return (self.frame(k) for k in range(len(self)))

    def close(self) -> None:
        """Close the file; idempotent."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_index(self, k: int, count: int, what: str) -> None:
        if not 0 <= k < count:
            expected = f"0 to {count - 1}" if count > 0 else "nothing, for there is none"
            raise RecordingError(f"{self.path}: {what} {k} is out of range, expected {expected}")

    def _read(self, dataset: Any, k: int, what: str) -> NDArray[Any]:
        try:
            values: NDArray[Any] = dataset[k]
        except HDF5_ERRORS as error:
            raise RecordingError(
                f"{self.path}: {what} cannot be read, the file is damaged or truncated ({one_line(error)})"
            ) from error
        return values
