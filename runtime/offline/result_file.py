"""The result file of `usert run`, written and read: HDF5, one row a pair of frames.

    /pairs (P, 2)                 reference and current frame in the recording
    /displacement (P, 2, N, M)    float32, attributes: units, convention
    /strain, /quality (P, N, M)   float32, likewise
    /left_out/pairs (L, 2)        pairs that were asked for and not estimated, /left_out/reasons (L,) why, as text;
                                  the group is there only where there are any
    attributes of the root        usert_kind, format, usert_version, geometry of the scan (units are in the names),
                                  where it comes from (`usert.runtime.offline.provenance`)

Invariant: under its final name stands a whole file or none; what is being written is called `NAME.part`, and removed if
anything goes wrong. The same estimates of the same origin give the same bytes: no clock is in the file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from usert import __version__
from usert.bundle.manifest import Conventions
from usert.errors import OptionError, RecordingError
from usert.frame import Scan
from usert.output_file import size_text
from usert.recording.layout import HDF5_ERRORS, one_line

from ..imaging.estimate import Estimate
from .pairs import LeftOut, Pair

BYTES_A_SAMPLE = 4 * np.dtype(np.float32).itemsize
"""Bytes of displacement (two components), strain and quality."""
KIND = "strain"
_COLUMNS = "reference frame, current frame"
FORMAT = 1


class ResultWriter:
    """Writes a result pair by pair inside a `with` block, whose regular end gives the file its name."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        pairs: Sequence[Pair],
        shape: tuple[int, int],
        scan: Scan,
        conventions: Conventions,
    ) -> None:
        self._path = Path(path)
        self._part = self._path.with_name(self._path.name + ".part")
        self._file: Any = None
        self._pairs = pairs
        self._shape = shape
        self._conventions = conventions
        self._attributes = {
            "usert_kind": KIND,
            "format": FORMAT,
            "usert_version": __version__,
            **scan.stated,
        }
        self._attributes["axial_pitch_mm"] = scan.axial_pitch_mm

    def __enter__(self) -> Self:
        if self._path.is_dir():
            raise OptionError(f"{self._path}: is a folder, expected the name of a file to write")
        self._check_space()
        foreign = self._part.exists()  # left by a crash, or being written by another run
        try:
            with self._writing():
                self._file = h5py.File(self._part, "w")
                self._create()
        except BaseException:
            if self._file is not None or not foreign:
                self._discard()
            raise
        return self

    def write(self, index: int, estimate: Estimate) -> None:
        """Write the estimate of the pair at `index` of those that are kept.

        Errors: `OptionError` where the file cannot be written.
        """
        with self._writing():
            for name in ("displacement", "strain", "quality"):
                self._file[name][index] = getattr(estimate, name)

    def leave_out(self, left_out: Sequence[LeftOut]) -> None:
        """Name the pairs that were not estimated; the rows are those of the others, in order. Errors: as `write`."""
        missing = {one.pair for one in left_out}
        kept = [pair for pair in self._pairs if pair not in missing]
        with self._writing():
            for name in ("pairs", "displacement", "strain", "quality"):
                self._file[name].resize(len(kept), axis=0)
            self._file["pairs"][:] = np.asarray(kept, dtype=np.int64).reshape(-1, 2)
            group = self._file.create_group("left_out")
            group["pairs"] = np.asarray([one.pair for one in left_out], dtype=np.int64)
            group["pairs"].attrs["columns"] = _COLUMNS
            group["reasons"] = [one.reason for one in left_out]

    def describe(self, attributes: Mapping[str, str | int | float]) -> None:
        """Write attributes of the root, such as the origin. Errors: as `write`."""
        with self._writing():
            self._file.attrs.update(attributes)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            with self._writing():
                self._file.close()
                with self._part.open("rb") as part:
                    os.fsync(part.fileno())  # or a power cut leaves the name without what it names
                self._part.replace(self._path)
        except BaseException:
            self._discard()
            raise

    def _check_space(self) -> None:
        """Check the free space before the work, since HDF5 does not recover from a full disk."""
        needed = len(self._pairs) * BYTES_A_SAMPLE * self._shape[0] * self._shape[1]
        with self._writing():
            free = shutil.disk_usage(self._path.absolute().parent).free
        if needed > free:
            raise OptionError(
                f"cannot write {self._path}: needs {size_text(needed)}, {size_text(free)} are free; "
                "choose fewer pairs or another disk"
            )

    def _create(self) -> None:
        n, m = self._shape
        count = len(self._pairs)
        self._file.attrs.update(self._attributes)
        pairs = np.asarray(self._pairs, dtype=np.int64).reshape(count, 2)
        self._file.create_dataset("pairs", data=pairs, chunks=pairs.shape, maxshape=pairs.shape)
        self._file["pairs"].attrs["columns"] = _COLUMNS
        for name, lead, units, convention in (
            ("displacement", (2,), "samples, lines", self._conventions.displacement),
            ("strain", (), "1", self._conventions.strain),
            ("quality", (), "1", "local correlation of reference and warped current, 0 (none) to 1"),
        ):
            whole = (count, *lead, n, m)  # in chunks of a pair, so that it can become shorter
            dataset = self._file.create_dataset(
                name, whole, dtype=np.float32, chunks=(1, *whole[1:]), maxshape=whole
            )
            dataset.attrs["units"] = units
            dataset.attrs["convention"] = convention

    def _discard(self) -> None:
        with suppress(OSError, RuntimeError):  # a full disk cannot flush; the file goes away all the same
            if self._file is not None:
                self._file.close()
        self._part.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:
            number = error.errno if isinstance(error, OSError) else None
            reason = os.strerror(number) if number else " ".join(str(error).split())
            raise OptionError(f"cannot write {self._path}: {reason}") from error


class ResultReader:
    """Reads a result; open from construction until the end of its `with` block, with one pair in memory at a time."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Errors: `RecordingError` for a file that cannot be read or is not a result."""
        self.path = Path(path)
        try:
            self._file: Any = h5py.File(self.path, "r")
        except HDF5_ERRORS as error:
            raise RecordingError(f"{self.path}: not a result of `usert run`: {one_line(error)}") from error
        try:
            self.attributes: dict[str, Any] = dict(self._file.attrs)
            kind, number = self.attributes.get("usert_kind"), self.attributes.get("format")
            if kind != KIND or number != FORMAT:
                raise RecordingError(
                    f"{self.path}: not a result of `usert run`: got kind {kind!r}, format {number}, "
                    f"expected {KIND!r}, {FORMAT}"
                )
            self.pairs = _pairs(self._file["pairs"])
            self.left_out: tuple[LeftOut, ...] = ()
            if (group := self._file.get("left_out")) is not None:
                self.left_out = tuple(
                    LeftOut(pair=pair, reason=reason)
                    for pair, reason in zip(_pairs(group["pairs"]), group["reasons"].asstr(), strict=True)
                )
        except (KeyError, *HDF5_ERRORS) as error:
            self._file.close()
            raise RecordingError(f"{self.path}: damaged result: {one_line(error)}") from error
        except BaseException:
            self._file.close()
            raise

    def estimate(self, index: int) -> Estimate:
        """The estimate of the pair at `index`. Errors: `RecordingError` where it cannot be read."""
        try:
            displacement, strain, quality = (
                np.asarray(self._file[name][index]) for name in ("displacement", "strain", "quality")
            )
        except (KeyError, *HDF5_ERRORS) as error:
            raise RecordingError(f"{self.path}: pair {index} cannot be read: {one_line(error)}") from error
        return Estimate(displacement=displacement, strain=strain, quality=quality)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _pairs(dataset: Any) -> tuple[Pair, ...]:
    return tuple((int(i), int(j)) for i, j in dataset)
