"""The record of a live server: a recording of the frames it received, and the images it made of them.

    /rf, /acquired_ns, geometry    the recording of all frames of one session; see `usert.recording.layout`
    /record                        attributes: format, provenance, stream, session, names of the clocks
    /record/frames  (F,)           a row a frame: FRAME
    /record/images  (I,)           a row a pair that went through the engine: IMAGE
    /record/strain, quality        (I, N, M) float32, as the engine gave them, whatever was shown of them
    /record/displacement           (I, 2, N, M) float32, if it was asked for
    /record/gaps    (G,)           a row a run of frames or images that are missing: GAP

Frames are named by their sequence numbers. Says what the parts are and reads them; does not write. Invariant: a row
counts a whole frame or image, for it is written last; so the record can be read while it grows and after a crash.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from usert import __version__
from usert.bundle import Bundle
from usert.errors import RecordingError
from usert.frame import RFFrame
from usert.machine import cpu_name, gpu_name
from usert.recording import Recording
from usert.recording.layout import HDF5_ERRORS, add_growing, one_line

from ..protocol.header import write_array

GROUP = "record"
FORMAT = 1
FRAME = np.dtype([("sequence", "<i8"), ("time_ns", "<i8"), ("received_ns", "<i8")])
IMAGE_COLUMNS = (
    ("reference", "<i8", "reference"),
    ("current", "<i8", "current"),
    ("received_ns", "<i8", "received_ns"),
    ("matched_ns", "<i8", "matched_ns"),
    ("started_ns", "<i8", "started_ns"),
    ("published_ns", "<i8", "message.published_ns"),
    ("mean_strain", "<f8", "quality.mean_strain"),
    ("mean_quality", "<f8", "quality.mean_quality"),
    ("score", "<f8", "quality.score"),
    ("state", "S8", "message.state"),
    ("reason", "S16", "message.reason"),
    ("shown", "<i8", "message.current.sequence"),
    ("received", "<i8", "message.counters.received"),
    ("dropped", "<i8", "message.counters.dropped"),
    ("malformed", "<i8", "message.counters.malformed"),
    ("published", "<i8", "message.counters.published"),
    ("engine", "S64", "engine_ascii"),
    ("displacement_sha256", "S64", "displacement_sha256"),
)
"""Name, type, and attribute of `usert.runtime.record.file.RecordedImage` that a row takes the value from.

Sequence numbers, times, means and score are those of the pair; the others are those of the message that was sent after
it, whose image (`shown`) is an earlier one while it is `held`. The hash is that of the bytes of the displacement,
little-endian. Readers find columns by name; more may follow."""
IMAGE = np.dtype([(name, kind) for name, kind, _ in IMAGE_COLUMNS])
GAP = np.dtype(
    [
        ("what", "S8"),
        ("session", "<i8"),
        ("first", "<i8"),
        ("last", "<i8"),
        ("count", "<i8"),
        ("reason", "S16"),
        ("since_ns", "<i8"),
        ("until_ns", "<i8"),
    ]
)
"""Columns of a row of gaps, as in `usert.runtime.record.gaps.Gap`."""
_ROWS_A_CHUNK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The provenance of a record, from which its images can be reproduced."""

    bundle: str
    bundle_sha256: str
    weights_sha256: str
    configuration: Mapping[str, Any]
    """The server's configuration as plain values; `engine`, `precision` and `threads` as `open_engine` takes them."""
    case: str = field(default="", repr=False)
    """Identifier of the patient or examination; empty: none was given."""

    @classmethod
    def of(cls, bundle: Bundle, *, case: str = "", **configuration: Any) -> Self:
        """The provenance of a server that runs `bundle`."""
        return cls(
            bundle=str(bundle.folder),
            bundle_sha256=bundle.sha256,
            weights_sha256=bundle.manifest.weights.sha256,
            configuration=configuration,
            case=case,
        )

    def attributes(self) -> dict[str, str]:
        """Attributes of the record's group, with the machine; `case` only where there is one."""
        return ({"case": self.case} if self.case else {}) | {
            "usert_version": __version__,
            "bundle": self.bundle,
            "bundle_sha256": self.bundle_sha256,
            "weights_sha256": self.weights_sha256,
            "configuration": json.dumps(self.configuration),
            "machine": ", ".join(name for name in (cpu_name(), gpu_name()) if name),
        }


def furnish(
    file: Any, shape: tuple[int, int], attributes: Mapping[str, str | int], *, displacement: bool
) -> None:
    """Add the group of a record to an `h5py.File` of frames of `shape`."""
    for name, dtype in (("frames", FRAME), ("images", IMAGE), ("gaps", GAP)):
        add_growing(file, f"{GROUP}/{name}", (), dtype, rows=_ROWS_A_CHUNK)
    for name, lead in (("strain", ()), ("quality", ()), ("displacement", (2,))):
        if name != "displacement" or displacement:
            add_growing(file, f"{GROUP}/{name}", (*lead, *shape), np.float32)
    file[GROUP].attrs["format"] = FORMAT
    file[GROUP].attrs.update(attributes)


def hash_of(displacement: NDArray[np.float32]) -> str:
    """SHA-256 of a displacement, as in the column `displacement_sha256`."""
    return hashlib.sha256(write_array(displacement, "float32")).hexdigest()


class Record:
    """A record opened for reading, as it was on opening; closed by `close` or the end of its `with` block.

    Errors: `RecordingError` for a recording without a record, or a damaged file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.recording = Recording(path)
        """The recording of all frames; the last frame may have no row yet."""
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        path, furnished = self.recording.path, self.recording.furnished
        if GROUP not in furnished:
            raise RecordingError(f"{path}: no group {GROUP!r}, expected the record of a live server")
        self._group = furnished[GROUP]
        try:
            self.attributes: dict[str, Any] = dict(self._group.attrs)
            number = self.attributes.get("format")
            if number != FORMAT:
                raise RecordingError(f"{path}: record format {number}, expected {FORMAT}: update usert")
            self.configuration: dict[str, Any] = json.loads(self.attributes["configuration"])
            self.images: NDArray[Any] = self._group["images"][:]
            self.gaps: NDArray[Any] = self._group["gaps"][:]
            self.frames: NDArray[Any] = self._group["frames"][: len(self.recording)]
        except HDF5_ERRORS as error:
            raise RecordingError(f"{path}: damaged or truncated ({one_line(error)})") from error
        self._index = {int(sequence): k for k, sequence in enumerate(self.frames["sequence"])}

    @property
    def has_displacement(self) -> bool:
        """Whether the record holds displacement."""
        return "displacement" in self._group

    def frame(self, sequence: int) -> RFFrame | None:
        """The frame of a sequence number; None where the record lacks it."""
        k = self._index.get(sequence)
        return None if k is None else self.recording.frame(k)

    def array(self, name: str, k: int) -> NDArray[np.float32]:
        """The array `strain`, `quality` or `displacement` of image `k`. Errors: `RecordingError`."""
        try:
            values: NDArray[np.float32] = self._group[name][k]
        except HDF5_ERRORS as error:
            raise RecordingError(
                f"{self.recording.path}: {name} of image {k} cannot be read, the file is damaged or truncated"
                f" ({one_line(error)})"
            ) from error
        return values

    def close(self) -> None:
        self.recording.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
