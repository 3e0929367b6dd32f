"""A frame and the geometry without which its samples mean nothing.

A frame is **RF**, real samples as they are received, or **IQ**, the complex baseband that is left when the echo is
turned down by a demodulation frequency (`Scan.demodulation_hz`) and, mostly, sampled more sparsely.

Knows nothing of files, sockets or networks. Invariant: a `RFFrame` that exists has plausible geometry and an array of
int16 or float32 samples, row 0 nearest the probe, of the kind that its scan states.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import FrameError
from .units import unit_fault

Shape: TypeAlias = tuple[int, int]
"""(N, M): axial samples, scan lines of a frame."""
FRAME_DTYPES = (np.dtype(np.int16), np.dtype(np.float32))
"""Sample types a frame may have: what scanners deliver, and what research files hold."""


Kind: TypeAlias = Literal["rf", "iq"]
"""RF, or IQ."""
Demodulation: TypeAlias = float | tuple[tuple[float, float], ...]
"""Hz: one number, or (row, Hz) at rising rows, linear between them and constant beyond."""
MOST_CYCLES = 32
"""Cycles of the echo in a row of IQ: a pulse would have a bandwidth of a thirtieth of its frequency."""
MOST_STEPS = 64
"""Points of a demodulation frequency that changes with depth."""
_MOST_ROWS, _FEWEST_ROWS = 1e9, 1e-3
"""Far beyond any frame, and between the points of a demodulation frequency, so that its phase does not overflow."""
PLAIN_GEOMETRY = ("fs_hz", "f0_hz", "sound_speed_m_s", "line_pitch_mm")
"""Fields that every scan states."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Geometry and frequencies of a frame's sample grid, in beam space: row by row along depth, line by line across.

    Errors: `FrameError` for numbers that no scanner has, with the unit that was probably meant.
    """

    fs_hz: float
    """Sampling frequency along depth; of IQ that of its complex samples."""
    f0_hz: float
    """Centre frequency of the pulse."""
    sound_speed_m_s: float
    line_pitch_mm: float
    """Distance between neighbouring scan lines; of a curved or phased array half-way down."""
    demodulation_hz: Demodulation | None = None
    """Of IQ the frequency by which the echo was turned down; None: the frame is RF."""
    radius_mm: float | None = None
    """Radius of a curved array, 0 of a phased one, at which depth 0 lies; None: the lines are parallel."""
    line_angle_deg: float | None = None
    """Angle between neighbouring scan lines; None: the lines are parallel."""
    first_depth_mm: float = 0.0
    """Depth of row 0 below the array."""

    def __post_init__(self) -> None:
        for name in PLAIN_GEOMETRY:
            object.__setattr__(self, name, _number(name, getattr(self, name), above=0))
        for name in ("sound_speed_m_s", "line_pitch_mm", "fs_hz", "f0_hz"):  # the first two make frequencies
            _check_unit(name, getattr(self, name))
        if self.demodulation_hz is not None:
            object.__setattr__(self, "demodulation_hz", self._demodulation(self.demodulation_hz))
            if self.f0_hz > MOST_CYCLES * self.fs_hz:
                raise FrameError(
                    f"f0_hz: got {self.f0_hz:g} at fs_hz {self.fs_hz:g}, expected at most {MOST_CYCLES} times fs_hz"
                )
        elif self.f0_hz >= self.fs_hz / 2:
            raise FrameError(
                f"f0_hz: got {self.f0_hz:g} at fs_hz {self.fs_hz:g}, expected less than half of fs_hz; "
                "demodulated samples (IQ) need demodulation_hz, too"
            )
        if (self.radius_mm is None) != (self.line_angle_deg is None):
            raise FrameError(
                f"radius_mm and line_angle_deg: got {self.radius_mm} and {self.line_angle_deg}, expected both for a "
                "curved or phased array (radius 0), none for a linear one"
            )
        for name, low, high in _LIMITS:
            if (value := getattr(self, name)) is not None:
                value = _number(name, value)
                if name == "radius_mm" and 0 < value <= _METRES:
                    raise FrameError(
                        f"{name}: got {value:g}, expected 0 or {_METRES:g} to {high:g}: looks like metres"
                    )
                if not low <= value <= high:
                    raise FrameError(f"{name}: got {value:g}, expected {low:g} to {high:g}")
                object.__setattr__(self, name, value)

    def _demodulation(self, told: Any) -> Demodulation:
        """`told` with numbers as floats. Errors: `FrameError`."""
        steps = told if isinstance(told, tuple | list) else ((0.0, told),)
        if not (1 <= len(steps) <= MOST_STEPS and all(len(step) == 2 for step in steps)):
            raise FrameError(
                f"demodulation_hz: got {told!r:.60}, expected a number or 1 to {MOST_STEPS} pairs of row and Hz"
            )
        checked = tuple(
            (_number("demodulation_hz: row", row), _number("demodulation_hz", hz, above=0))
            for row, hz in steps
        )
        rows = [row for row, _ in checked]
        if not -_MOST_ROWS <= rows[0] <= rows[-1] <= _MOST_ROWS or any(
            below - above < _FEWEST_ROWS for above, below in itertools.pairwise(rows)
        ):
            raise FrameError(
                f"demodulation_hz: got rows {rows!s:.200}, expected rising ones, {_FEWEST_ROWS:g} or more apart, within"
                f" {_MOST_ROWS:g} of row 0"
            )
        for _, hz in checked:
            _check_unit("demodulation_hz", hz)
            if abs(hz - self.f0_hz) >= self.fs_hz / 2:
                raise FrameError(
                    f"demodulation_hz: got {hz:g}, expected within half of fs_hz ({self.fs_hz / 2:g}) of f0_hz "
                    f"({self.f0_hz:g})"
                )
        return checked if isinstance(told, tuple | list) else checked[0][1]

    @property
    def kind(self) -> Kind:
        """Whether frames are RF, (N, M), or IQ, (N, M, 2)."""
        return "rf" if self.demodulation_hz is None else "iq"

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

    def of_rows(self, row: int, end: int) -> Scan:
        """The scan of frames that are rows `row` to before `end` of these."""
        demodulation = self.demodulation_hz
        if isinstance(demodulation, tuple):
            demodulation = tuple((at - row, hz) for at, hz in demodulation)
        depth_mm = self.first_depth_mm + row * self.axial_pitch_mm
        pitch_mm = self.line_pitch_mm
        if self.radius_mm is not None and self.line_angle_deg is not None:
            half_way_mm = depth_mm + (end - row) * self.axial_pitch_mm / 2
            pitch_mm = (self.radius_mm + half_way_mm) * math.radians(self.line_angle_deg)
        return replace(self, demodulation_hz=demodulation, first_depth_mm=depth_mm, line_pitch_mm=pitch_mm)

    @property
    def stated(self) -> dict[str, Any]:
        """The fields that say something, by name: the four that every scan has, then those not at their default."""
        return {
            field.name: value
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        }


_LIMITS = (("radius_mm", 0.0, 500.0), ("line_angle_deg", 1e-3, 20.0), ("first_depth_mm", 0.0, 1000.0))
_METRES = 0.2
"""Radius in mm up to which it was probably stated in metres: no array is so small."""


def _number(name: str, value: Any, *, above: float | None = None) -> float:
    """`value` as a float. Errors: `FrameError`."""
    if (
        isinstance(value, int | float | np.number)
        and math.isfinite(value)
        and (above is None or value > above)
    ):
        return float(value)
    least = "" if above is None else f" above {above:g}"
    raise FrameError(f"{name}: got {value!r}, expected a finite number{least}")


def _check_unit(name: str, value: float) -> None:
    if fault := unit_fault(name, value):
        raise FrameError(fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class RFFrame:
    """One beamformed frame of raw samples, RF or IQ as its scan states."""

    samples: NDArray[Any]
    """Axial samples by scan lines, int16 or float32: (N, M) of RF, (N, M, 2) of IQ, in-phase before quadrature."""
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
        check_shape("frame samples", self.samples, self.scan.kind)

    @property
    def shape(self) -> Shape:
        """(N, M): axial samples, scan lines."""
        return self.samples.shape[0], self.samples.shape[1]

    @property
    def signal(self) -> NDArray[Any]:
        """(N, M): the samples of RF as they are, those of IQ as complex64."""
        return self.samples if self.scan.kind == "rf" else as_complex(self.samples)


def check_shape(what: str, samples: NDArray[Any], kind: Kind) -> None:
    """Compare the shape of `samples` with that of a frame of `kind`. Errors: `FrameError` that begins with `what`."""
    axes = samples.ndim if kind == "rf" else samples.ndim - 1
    if axes == 2 and 0 not in samples.shape and (kind == "rf" or samples.shape[2] == 2):
        return
    expected = {
        "rf": "(axial samples, scan lines)",
        "iq": "(axial samples, scan lines, 2): in-phase and quadrature",
    }
    hint = "; IQ needs a scan with demodulation_hz" if kind == "rf" and samples.shape[2:] == (2,) else ""
    raise FrameError(f"{what}: got shape {samples.shape}, expected {expected[kind]}{hint}")


def as_complex(samples: NDArray[Any]) -> NDArray[np.complex64]:
    """(…, 2) in-phase and quadrature → (…) complex64."""
    pairs = np.ascontiguousarray(samples, np.float32)
    return pairs.view(np.complex64)[..., 0]
