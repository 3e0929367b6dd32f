"""What PLUS writes into the headers of its sequence files, beside the samples.

After PLUS' user manual ("Ultrasound image orientation", "Sequence file") and its source, github.com/PlusToolkit/PlusLib
and IGSIO: `UltrasoundImageType` names the kind of samples; `UltrasoundImageOrientation` the direction of the image's
axes, fastest first, by the letters M(arked side), U(nmarked), F(ar from the probe), N(ear), RF being FM where nothing
is stated; `Seq_FrameNNNN_Timestamp` counts seconds since PLUS was started; `Seq_FrameNNNN_ImageStatus`, in older files
`_Status`, is INVALID where no image was taken. Knows fields, no file format. Frames are turned so that row 0 is nearest
the probe; their lines stay in the order of the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import FormatError
from .declared import Declared
from .options import ImportOptions

_IQ = ("RF_IQ_LINE", "RF_I_LINE_Q_LINE")
_ORIENTATION = re.compile(r"(?P<depth>[FN])[MU][AD]?|[MU](?P<lines_first>[FN])[AD]?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """How the frames of a sequence are to be read."""

    lines_first: bool
    """The fastest axis runs across the scan lines."""
    upside_down: bool
    """Row 0 is farthest from the probe."""
    valid: tuple[int, ...]
    """Indices of the frames that hold an image."""
    acquired_ns: tuple[int, ...]
    """Time of each valid frame since PLUS was started; empty where one is missing."""
    notes: tuple[str, ...]

    def upright(self, frame: NDArray[Any]) -> NDArray[Any]:
        """(N, M) with row 0 nearest the probe, of (fastest, second) axis as stored."""
        turned = frame.T if self.lines_first else frame
        return turned[::-1] if self.upside_down else turned

    def geometry(self, path: Path, first: float, second: float) -> Declared:
        """Geometry by the spacing in mm of the fastest and the second axis; 1 means unknown. Errors: `FormatError`."""
        if first == second == 1:
            return Declared()
        if not (0 < first < math.inf and 0 < second < math.inf):
            raise FormatError(f"{path}: spacing {first:g} x {second:g} mm, expected numbers above 0")
        axial, lateral = (second, first) if self.lines_first else (first, second)
        return Declared(axial_pitch_mm=axial, line_pitch_mm=lateral)


def read_sequence(path: Path, fields: Mapping[str, str], frames: int, options: ImportOptions) -> Sequence:
    """The sequence that `fields` of a header state for so many frames.

    Raises `FormatError` for images that are not RF or of an unknown orientation, and where no frame is valid.
    """
    _check_type(path, fields.get("UltrasoundImageType", "RF_REAL").upper())
    notes: list[str] = []
    lines_first, upside_down = options.transpose, False
    if (text := fields.get("UltrasoundImageOrientation", "").upper()) not in ("", "XX", "XXX"):
        found = _ORIENTATION.fullmatch(text)
        if found is None:
            raise FormatError(
                f"{path}: UltrasoundImageOrientation {text}, expected two or three letters, such as FM or UFA"
            )
        stated_lines_first = found["lines_first"] is not None
        upside_down = "N" in (found["depth"], found["lines_first"])
        if options.transpose and not stated_lines_first:
            notes.append(
                f"{path}: --transpose: taken, but the file states orientation {text}, samples first;"
                f" leave the option out to take that"
            )
        lines_first = stated_lines_first or options.transpose
        if stated_lines_first or upside_down:
            turn = "transposed" * stated_lines_first, "turned over" * upside_down
            notes.append(
                f"{path}: orientation {text}: {' and '.join(filter(None, turn))}, row 0 is at the probe"
            )
    valid = tuple(k for k in range(frames) if not _invalid(fields, k))
    if not valid:
        raise FormatError(f"{path}: all {frames} frames are INVALID, expected at least one with an image")
    if left_out := [str(k) for k in range(frames) if _invalid(fields, k)]:
        named = ", ".join(left_out[:8]) + (", …" if len(left_out) > 8 else "")
        notes.append(f"{path}: {len(left_out)} of {frames} frames are INVALID and left out: {named}")
    times = [_seconds(path, fields, k) for k in valid]
    known = [time for time in times if time is not None]
    if len(known) < len(valid):
        known = []
    return Sequence(
        lines_first=lines_first,
        upside_down=upside_down,
        valid=valid,
        acquired_ns=tuple(round(1e9 * time) for time in known),
        notes=tuple(notes),
    )


def _check_type(path: Path, kind: str) -> None:
    if kind == "RF_REAL":
        return
    if kind in _IQ:
        what = "IQ, which is not read yet: record RF, or make RF lines of it"
    elif kind == "BRIGHTNESS":
        what = "B-mode, whose phase is gone: record RF"
    else:
        what = "no RF"
    raise FormatError(f"{path}: UltrasoundImageType {kind}, expected RF_REAL: this is {what}")


def _invalid(fields: Mapping[str, str], k: int) -> bool:
    frame = f"Seq_Frame{k:04d}"
    return fields.get(f"{frame}_ImageStatus", fields.get(f"{frame}_Status", "OK")).upper() == "INVALID"


def _seconds(path: Path, fields: Mapping[str, str], k: int) -> float | None:
    text = fields.get(key := f"Seq_Frame{k:04d}_Timestamp")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 9e9:  # what int64 holds in ns
        raise FormatError(f"{path}: {key} is {text!r}, expected seconds")
    return seconds
