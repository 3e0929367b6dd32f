"""An OpenIGTLink image as an RF frame: its samples, and its geometry from its spacing and the user's options.

Invariant: the geometry stays equal until it really changes, although a sender that tracks its probe sends a new matrix
of rounded numbers with every image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from usert.errors import FrameError, OptionError
from usert.frame import FRAME_DTYPES, Scan
from usert.units import unit_fault

from ..protocol.header import MAX_AXIAL, MAX_LINES, MAX_PIXELS, MalformedError

if TYPE_CHECKING:
    from pyigtl.messages import ImageMessage

_SAME = 1e-3
"""Relative difference up to which two geometries count as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReading:
    """Properties of the RF frames that an OpenIGTLink image does not contain."""

    f0_hz: float
    fs_hz: float | None = None
    """Sampling frequency; None: computed from the spacing along depth."""
    line_pitch_mm: float | None = None
    """Distance between lines; None: the spacing across depth."""
    sound_speed_m_s: float = 1540.0
    transpose: bool = False
    """Whether a row of the image is a scan line, as in RF of PLUS; otherwise a column is."""

    def __post_init__(self) -> None:
        options = {
            "f0_hz": "--f0-mhz",
            "fs_hz": "--fs-mhz",
            "line_pitch_mm": "--line-pitch-mm",
            "sound_speed_m_s": "--sound-speed",
        }
        for name, option in options.items():
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise OptionError(f"{option}: expected a finite number above 0")
            if value is not None and (fault := unit_fault(name, value)):
                raise OptionError(f"{option}: {fault}")
        if self.fs_hz is not None and self.f0_hz >= self.fs_hz / 2:
            raise OptionError("--f0-mhz: expected less than half of --fs-mhz")


class FrameReader:
    """Reads consecutive images of one device."""

    def __init__(self, reading: ImageReading) -> None:
        self._reading = reading
        self._scan: Scan | None = None

    def read(self, image: ImageMessage) -> tuple[NDArray[Any], Scan]:
        """Samples (N, M) and geometry of an image. Errors: `MalformedError` for one that is not an RF frame."""
        samples = _samples(image.image)
        pitches = [float(np.linalg.norm(image.ijk_to_world_matrix[:3, axis])) for axis in (1, 0)]
        if self._reading.transpose:
            samples, pitches = samples.T, pitches[::-1]
        n, m = samples.shape
        if not (0 < n <= MAX_AXIAL and 0 < m <= MAX_LINES and n * m <= MAX_PIXELS):
            raise MalformedError(
                "size",
                f"image: got {n} samples by {m} lines, expected 1 to {MAX_AXIAL} by 1 to {MAX_LINES}; "
                "lines and samples swapped? give --transpose, or leave it out",
            )
        return np.ascontiguousarray(samples), self._scan_of(*pitches)

    def _scan_of(self, axial_mm: float, lateral_mm: float) -> Scan:
        reading = self._reading
        by_spacing = 1e3 * reading.sound_speed_m_s / (2 * axial_mm) if axial_mm > 0 else math.nan
        try:
            scan = Scan(
                fs_hz=by_spacing if reading.fs_hz is None else reading.fs_hz,
                f0_hz=reading.f0_hz,
                sound_speed_m_s=reading.sound_speed_m_s,
                line_pitch_mm=lateral_mm if reading.line_pitch_mm is None else reading.line_pitch_mm,
            )
        except FrameError as error:
            raise MalformedError(
                "geometry",
                f"{error}; the image's spacing is {axial_mm:g} mm along depth and {lateral_mm:g} mm across: if that "
                "is not so, give --fs-mhz and --line-pitch-mm",
            ) from error
        last = self._scan
        if (
            last is not None
            and _close(scan.fs_hz, last.fs_hz)
            and _close(scan.line_pitch_mm, last.line_pitch_mm)
        ):
            return last
        self._scan = scan
        return scan


def _samples(image: NDArray[Any]) -> NDArray[Any]:
    if image.ndim != 3 or image.shape[0] != 1:
        raise MalformedError(
            "size", f"image: got shape {image.shape}, expected (1, rows, columns), one number a pixel"
        )
    dtype = image.dtype.newbyteorder("=")
    if dtype not in FRAME_DTYPES:
        raise MalformedError(
            "field",
            f"image: got pixels of {dtype}, expected int16 or float32 RF samples; bytes are B-mode, without phase",
        )
    samples: NDArray[Any] = image[0].astype(dtype, copy=False)
    return samples


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=_SAME)
