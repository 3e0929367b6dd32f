"""What PLUS writes into the headers of its sequence files, beside the samples.

After PLUS' user manual ("Ultrasound image orientation", "Sequence file") and its source,
github.com/PlusToolkit/PlusLib and IGSIO: `UltrasoundImageType` names the kind of samples, of which `RF_IQ_LINE` is
I1, Q1, I2, Q2, … along each line, and `RF_I_LINE_Q_LINE` a line of I, a line of Q, and so on, the Q of which PLUS'
converter to B-mode takes for the Hilbert transform of RF in the line before (vtkPlusRfToBrightnessConvert, "e.g.,
Ultrasonix"); `UltrasoundImageOrientation` the direction of the image's axes, fastest first, by the letters M(arked
side), U(nmarked), F(ar from the probe), N(ear), RF being FM where nothing is stated; `Seq_FrameNNNN_Timestamp` counts
seconds since PLUS was started; `Seq_FrameNNNN_ImageStatus`, in older files `_Status`, is INVALID where no image was
taken. Knows fields, no file format. Frames are turned so that row 0 is nearest the probe, pairs of I and Q as they
are; their lines stay in the order of the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import FormatError
from .declared import Declared
from .options import ImportOptions, SampleKind
from .samples import upright

IMAGE_TYPES: dict[str, SampleKind] = {
    "RF_REAL": "rf",
    "RF_IQ_LINE": "iq-pairs",
    "RF_I_LINE_Q_LINE": "iq-lines",
}
"""Kinds of samples by PLUS' names of image types."""
_ORIENTATION = re.compile(r"(?P<depth>[FN])[MU][AD]?|[MU](?P<lines_first>[FN])[AD]?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Orientation:
    """Directions of an image's two axes, as PLUS states them."""

    lines_first: bool
    """Whether the fastest axis runs across the scan lines."""
    upside_down: bool
    """Whether row 0 is farthest from the probe."""

    @classmethod
    def parse(cls, text: str) -> Orientation | None:
        """The orientation that two or three letters state, such as FM or UFA; None for other text."""
        found = _ORIENTATION.fullmatch(text.upper())
        if found is None:
            return None
        return cls(
            lines_first=found["lines_first"] is not None,
            upside_down="N" in (found["depth"], found["lines_first"]),
        )

    def upright(self, frame: NDArray[Any], kind: SampleKind | None) -> NDArray[Any]:
        """(N, M, …) with row 0 nearest the probe, of (fastest, second, …) axis as stored; I stays before its Q."""
        turned = upright(frame, lines_first=self.lines_first)
        if not self.upside_down:
            return turned
        if kind != "iq-pairs" or len(turned) % 2:
            return turned[::-1]
        return turned.reshape(-1, 2, *turned.shape[1:])[::-1].reshape(turned.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """How the frames of a sequence are to be read."""

    stated: SampleKind | None
    """What the samples are by the file; None where it does not state it."""
    kind: SampleKind | None
    """What they are by the user, or else by the file."""
    orientation: Orientation
    """Directions of the axes by the user, or else by the file."""
    valid: tuple[int, ...]
    """Indices of the frames that hold an image."""
    acquired_ns: tuple[int, ...]
    """Time of each valid frame since PLUS was started; empty where one is missing."""
    notes: tuple[str, ...]

    def upright(self, frame: NDArray[Any]) -> NDArray[Any]:
        """(N, M) with row 0 nearest the probe, of (fastest, second) axis as stored; I stays before its Q."""
        return self.orientation.upright(frame, self.kind)

    def geometry(self, path: Path, first: float, second: float) -> Declared:
        """Geometry by the spacing in mm of the fastest and the second axis; 1 means unknown.

        Where I and Q are in turns, what is sampled once takes two of them. Errors: `FormatError`.
        """
        if first == second == 1:
            return Declared()
        if not (0 < first < math.inf and 0 < second < math.inf):
            raise FormatError(f"{path}: spacing {first:g} x {second:g} mm, expected numbers above 0")
        axial, lateral = (second, first) if self.orientation.lines_first else (first, second)
        return Declared(
            axial_pitch_mm=axial * (1 + (self.kind == "iq-pairs")),
            line_pitch_mm=lateral * (1 + (self.kind in ("iq-lines", "rf-lines"))),
        )


def read_sequence(path: Path, fields: Mapping[str, str], frames: int, options: ImportOptions) -> Sequence:
    """The sequence that `fields` of a header state for so many frames.

    Raises `FormatError` for images that are neither RF nor IQ, of an unknown orientation, or without a valid frame.
    """
    stated = _kind(path, fields.get("UltrasoundImageType", "").upper())
    notes: list[str] = []
    orientation = Orientation(lines_first=options.transpose, upside_down=False)
    if (text := fields.get("UltrasoundImageOrientation", "").upper()) not in ("", "XX", "XXX"):
        stated_orientation = Orientation.parse(text)
        if stated_orientation is None:
            raise FormatError(
                f"{path}: UltrasoundImageOrientation {text}, expected two or three letters, such as FM or UFA"
            )
        orientation = stated_orientation
        if options.transpose and not orientation.lines_first:
            notes.append(
                f"{path}: --transpose: taken, but the file states orientation {text}, samples first;"
                f" leave the option out to take that"
            )
            orientation = replace(orientation, lines_first=True)
        if stated_orientation.lines_first or stated_orientation.upside_down:
            turn = (
                "transposed" * stated_orientation.lines_first,
                "turned over" * stated_orientation.upside_down,
            )
            notes.append(
                f"{path}: orientation {text}: {' and '.join(filter(None, turn))}, row 0 is at the probe"
            )
    valid = tuple(k for k in range(frames) if not _invalid(fields, k))
    if not valid:
        raise FormatError(f"{path}: all {frames} frames are INVALID, expected at least one with an image")
    if left_out := [str(k) for k in range(frames) if _invalid(fields, k)]:
        named = ", ".join(left_out[:8]) + (", …" if len(left_out) > 8 else "")
        notes.append(f"{path}: {len(left_out)} of {frames} frames are INVALID and left out: {named}")
    if stated == "iq-lines" and options.kind is None:
        notes.append(
            f"{path}: RF_I_LINE_Q_LINE: read as I and Q without their carrier; if its lines are RF and its Hilbert "
            "transform in turns, as PLUS itself has them, --kind rf-lines"
        )
    times = [_seconds(path, fields, k) for k in valid]
    known = [time for time in times if time is not None]
    if len(known) < len(valid):
        known = []
    return Sequence(
        stated=stated,
        kind=options.kind or stated,
        orientation=orientation,
        valid=valid,
        acquired_ns=tuple(round(1e9 * time) for time in known),
        notes=tuple(notes),
    )


def _kind(path: Path, stated: str) -> SampleKind | None:
    if not stated:
        return None
    if stated not in IMAGE_TYPES:
        what = "B-mode, whose phase is gone: record RF or IQ" if stated == "BRIGHTNESS" else "no RF"
        raise FormatError(
            f"{path}: UltrasoundImageType {stated}, expected {', '.join(IMAGE_TYPES)}: this is {what}"
        )
    return IMAGE_TYPES[stated]


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
