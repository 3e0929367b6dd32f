"""An OpenIGTLink image as a frame of RF or IQ: its samples, and its geometry from its spacing and the user's options.

Invariant: the geometry stays equal until it really changes, although a sender that tracks its probe sends a new matrix
of rounded numbers with every image.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from usert.beam_space import half_way_pitch_mm
from usert.errors import FrameError, OptionError, expect
from usert.formats.options import agrees
from usert.formats.plus import IMAGE_TYPES, Orientation
from usert.frame import FRAME_DTYPES, Demodulation, Scan
from usert.iq import IQLayout, split_iq
from usert.units import unit_fault

from ..protocol.header import MAX_AXIAL, MAX_LINES, MAX_PIXELS, MalformedError
from .igtl_tracked_frame import TrackedFrame

if TYPE_CHECKING:
    from pyigtl.messages import ImageMessage

_RF_KINDS = ("rf", "rf-lines")
_KINDS = (*_RF_KINDS, "iq", *get_args(IQLayout))
_ANY_SCAN = Scan(fs_hz=40e6, f0_hz=6.5e6, sound_speed_m_s=1540.0, line_pitch_mm=0.2)
_SAME = 1e-3
"""Relative difference up to which two geometries count as one."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReading:
    """Properties of the frames that an OpenIGTLink image does not contain."""

    f0_hz: float
    fs_hz: float | None = None
    """Sampling frequency, of IQ that of its complex samples; None: computed from the spacing along depth."""
    line_pitch_mm: float | None = None
    """Distance between lines; None: the spacing across depth, or of a curved or phased array that half-way down."""
    sound_speed_m_s: float = 1540.0
    transpose: bool = False
    """Whether a row of the image is a scan line, as in RF of PLUS; otherwise a column is."""
    orientation: str = ""
    """Directions of the image's axes by PLUS' letters, such as FM; empty: those that a TRACKEDFRAME states, or else by
    `transpose`."""
    kind: Literal["rf", "rf-lines", "iq"] | IQLayout = "rf"
    """RF, or a line of RF before each line of its Hilbert transform, which is left out; or IQ, as the two components of
    a pixel, in pairs along depth, or a line of I before each line of Q."""
    demodulation_hz: Demodulation | None = None
    """Of IQ the frequency by which it was turned down."""
    radius_mm: float | None = None
    """Radius of a curved array, 0 of a phased one; None: the lines are parallel."""
    line_angle_deg: float | None = None
    """Angle between neighbouring lines of a curved or phased array."""
    first_depth_mm: float = 0.0
    """Depth of row 0 below the array."""

    def __post_init__(self) -> None:
        options = {
            "f0_hz": "--f0-mhz",
            "fs_hz": "--fs-mhz",
            "line_pitch_mm": "--line-pitch-mm",
            "sound_speed_m_s": "--sound-speed",
            "demodulation_hz": "--demodulation-mhz",
        }
        for name, option in options.items():
            told = getattr(self, name)
            for value in [hz for _, hz in told] if isinstance(told, tuple) else [told]:
                if value is not None and not 0 < value < math.inf:
                    raise OptionError(f"{option}: expected a finite number above 0")
                if value is not None and (fault := unit_fault(name, value)):
                    raise OptionError(f"{option}: {fault}")
        if self.orientation and (self.transpose or Orientation.parse(self.orientation) is None):
            expected = (
                "none with --transpose" if self.transpose else "two or three letters, such as FM or UFA"
            )
            raise OptionError(f"--orientation: got {self.orientation!r}, expected {expected}")
        expect(self.kind in _KINDS, "--kind", f"{self.kind!r}", f"one of {', '.join(_KINDS)}")
        is_rf = self.kind in _RF_KINDS
        if is_rf != (self.demodulation_hz is None):
            expected = "none of RF" if is_rf else f"one with --kind {self.kind}"
            raise OptionError(f"--demodulation-mhz: got {self.demodulation_hz}, expected {expected}")
        if is_rf and self.fs_hz is not None and self.f0_hz >= self.fs_hz / 2:
            raise OptionError("--f0-mhz: expected less than half of --fs-mhz")
        try:
            replace(_ANY_SCAN, **self.places)
        except FrameError as error:
            raise OptionError(f"--radius-mm, --line-angle-deg, --first-depth-mm: {error}") from error

    def turned(self, stated: Orientation | None) -> Orientation:
        """Directions of the axes of an image of which the sender states `stated`."""
        told = Orientation.parse(self.orientation)
        if told is None and not self.transpose:
            told = stated
        return told or Orientation(lines_first=not self.transpose, upside_down=False)

    @property
    def places(self) -> dict[str, Any]:
        """Fields of `Scan` that say where lines and row 0 lie."""
        return {name: getattr(self, name) for name in ("radius_mm", "line_angle_deg", "first_depth_mm")}


class FrameReader:
    """Reads consecutive images of one device."""

    def __init__(self, reading: ImageReading) -> None:
        self._reading = reading
        self._scan: Scan | None = None
        self._stated = ""
        """The image type that was last stated."""

    def read(self, image: ImageMessage | TrackedFrame) -> tuple[NDArray[Any], Scan]:
        """Samples (N, M), or IQ (N, M, 2), and geometry of an image. Errors: `MalformedError` for another image."""
        kind = self._reading.kind
        samples = _samples(image.image, 2 if kind == "iq" else 1)
        orientation = self._reading.turned(None)
        if isinstance(image, TrackedFrame):
            self._compare(image.image_type)
            orientation = self._reading.turned(image.orientation)
        pitches = [float(np.linalg.norm(image.ijk_to_world_matrix[:3, axis])) for axis in (0, 1)]
        if orientation.lines_first:
            pitches.reverse()
        samples = orientation.upright(samples.swapaxes(0, 1), "iq-pairs" if kind == "iq-pairs" else None)
        if kind == "iq-pairs" or kind == "iq-lines":
            try:
                samples = split_iq(samples, kind)
            except FrameError as error:
                raise MalformedError("size", f"image: {error}") from error
            pitches[kind == "iq-lines"] *= 2  # what is sampled once takes two of the image's numbers
        elif kind == "rf-lines":
            if samples.shape[1] % 2:
                raise MalformedError("size", f"image: got {samples.shape[1]} lines, expected pairs of lines")
            samples, pitches[1] = samples[:, ::2], 2 * pitches[1]
        n, m = samples.shape[:2]
        if not (0 < n <= MAX_AXIAL and 0 < m <= MAX_LINES and n * m <= MAX_PIXELS):
            raise MalformedError(
                "size",
                f"image: got {n} samples by {m} lines, expected 1 to {MAX_AXIAL} by 1 to {MAX_LINES}; "
                "lines and samples swapped? --orientation FM or MF, or --transpose or none",
            )
        return np.ascontiguousarray(samples), self._scan_of(n, *pitches)

    def _compare(self, image_type: str) -> None:
        """Warn once of samples that the sender calls something else: what the user says is taken."""
        stated = IMAGE_TYPES.get(image_type)
        if image_type != self._stated and stated is not None and not agrees(stated, self._reading.kind):
            log.warning(
                "the sender states %s, which is --kind %s: read as --kind %s",
                image_type,
                stated,
                self._reading.kind,
            )
        self._stated = image_type

    def _scan_of(self, rows: int, axial_mm: float, lateral_mm: float) -> Scan:
        reading = self._reading
        by_spacing = 1e3 * reading.sound_speed_m_s / (2 * axial_mm) if axial_mm > 0 else math.nan
        fs_hz = by_spacing if reading.fs_hz is None else reading.fs_hz
        if reading.radius_mm is not None and reading.line_angle_deg is not None:
            length_mm = rows * 1e3 * reading.sound_speed_m_s / (2 * fs_hz)
            lateral_mm = half_way_pitch_mm(
                reading.radius_mm, reading.line_angle_deg, reading.first_depth_mm, length_mm
            )
        try:
            scan = Scan(
                fs_hz=fs_hz,
                f0_hz=reading.f0_hz,
                sound_speed_m_s=reading.sound_speed_m_s,
                line_pitch_mm=lateral_mm if reading.line_pitch_mm is None else reading.line_pitch_mm,
                demodulation_hz=reading.demodulation_hz,
                **reading.places,
            )
        except FrameError as error:
            raise MalformedError(
                "geometry",
                f"{error}; the image's spacing is {axial_mm:g} mm along depth and {lateral_mm:g} mm across: if that "
                "is not so, give --fs-mhz and --line-pitch-mm",
            ) from error
        if self._scan is None or not _same(scan, self._scan):
            self._scan = scan
        return self._scan


def _samples(image: NDArray[Any], components: int) -> NDArray[Any]:
    shape = image.shape if image.ndim == 4 else (*image.shape, 1)
    if len(shape) != 4 or shape[0] != 1 or shape[3] != components:
        expected = "(1, rows, columns), one number" if components == 1 else "(1, rows, columns, 2), I and Q"
        raise MalformedError("size", f"image: got shape {image.shape}, expected {expected} a pixel")
    dtype = image.dtype.newbyteorder("=")
    if dtype == np.int32:  # as PLUS gives RF of WinProbe
        dtype = np.dtype(np.float32)
    if dtype not in FRAME_DTYPES:
        raise MalformedError(
            "field",
            f"image: got pixels of {dtype}, expected int16, int32 or float32 of RF or IQ; bytes are B-mode, which has "
            "no phase",
        )
    samples: NDArray[Any] = image[0].astype(dtype, copy=False)
    return samples


def _same(a: Scan, b: Scan) -> bool:
    pairs = (a.fs_hz, b.fs_hz), (a.line_pitch_mm, b.line_pitch_mm)
    return all(math.isclose(*pair, rel_tol=_SAME) for pair in pairs)
