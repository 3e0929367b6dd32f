"""An RF frame and the geometry without which its samples mean nothing.

Knows nothing of files, sockets or networks. Invariant: a `RFFrame` that exists has plausible geometry
and a two-dimensional array of int16 or float32 samples, row 0 nearest the probe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import FrameError
from .units import unit_fault

Shape: TypeAlias = tuple[int, int]
"""(N, M): axial samples, scan lines of a frame."""
FRAME_DTYPES = (np.dtype(np.int16), np.dtype(np.float32))
"""Sample types a frame may have: what scanners deliver, and what research files hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Geometry and frequencies of a frame's sample grid (linear array, beam space)."""

    fs_hz: float
    """Sampling frequency along depth."""
    f0_hz: float
    """Centre frequency of the pulse."""
    sound_speed_m_s: float
    line_pitch_mm: float
    """Distance between neighbouring scan lines."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isinstance(value, int | float | np.number) and math.isfinite(value) and value > 0):
                raise FrameError(f"{field.name}: got {value!r}, expected a finite number above 0")
            object.__setattr__(self, field.name, float(value))
        for name in ("sound_speed_m_s", "line_pitch_mm", "fs_hz", "f0_hz"):  # the first two make frequencies
            if fault := unit_fault(name, getattr(self, name)):
                raise FrameError(fault)
        if self.f0_hz >= self.fs_hz / 2:
            raise FrameError(
                f"f0_hz: got {self.f0_hz:g} at fs_hz {self.fs_hz:g}, expected less than half of fs_hz"
            )

    @property
    def cycles_per_sample(self) -> float:
        """Centre over sampling frequency: cycles of the echo, wavelengths along depth, in a sample."""
        return self.f0_hz / self.fs_hz

    @property
    def axial_pitch_mm(self) -> float:
        """Distance between neighbouring samples: c / (2 fs), for the echo travels there and back."""
        return 1e3 * self.sound_speed_m_s / (2 * self.fs_hz)

    @property
    def pitch_mm(self) -> tuple[float, float]:
        """Distance between neighbouring samples and between neighbouring lines."""
        return self.axial_pitch_mm, self.line_pitch_mm


@dataclass(frozen=True, slots=True, kw_only=True)
class RFFrame:
    """One beamformed frame of raw radio-frequency samples."""

    samples: NDArray[Any]
    """(N, M): axial samples by scan lines, int16 or float32."""
    scan: Scan
    sequence: int = 0
    """Counts up by one a frame at the source; a gap is a frame lost on the way."""
    time_ns: int = 0
    """Monotonic clock of the sender when the frame was complete; only differences mean anything."""
    acquired_ns: int = 0
    """Wall clock (Unix epoch) of the same moment, 0 when unknown."""

    def __post_init__(self) -> None:
        if self.samples.dtype not in FRAME_DTYPES:
            raise FrameError(f"frame samples: got dtype {self.samples.dtype}, expected int16 or float32")
        if self.samples.ndim != 2 or 0 in self.samples.shape:
            raise FrameError(
                f"frame samples: got shape {self.samples.shape}, expected (axial samples, scan lines)"
            )

    @property
    def shape(self) -> Shape:
        """(N, M): axial samples, scan lines."""
        return self.samples.shape[0], self.samples.shape[1]
