"""What a Clarius probe streams, as a frame of RF: its samples, and its geometry from what is sent with them.

After the maker's public text: github.com/clariusdev/cast, `examples/python/pycaster.py` (the arguments of the callback)
and `include/cast/cast_def.h` (`CusRawImageInfo`: microns a sample and a line, nanoseconds, the flag of RF);
github.com/clariusdev/research, `docs/rf-frame-rate.md` (the probes' centre frequencies, and a speed of sound of 1540
m/s) and `docs/raw-data-format.md` (RF is beamformed, 16 bits a sample). Lines lie one after the other, as in its files
(`usert.formats.clarius`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from usert.beam_space import half_way_pitch_mm
from usert.errors import FrameError, OptionError, expect
from usert.frame import Scan
from usert.units import unit_fault

from ..protocol.header import LIMITS, MalformedError, is_within_limits

MAKER_SOUND_SPEED_M_S = 1540.0
"""By which the maker turns the sampling frequency into microns a sample."""
_BITS = 16
_STEP_NS = 2_000_000_000


class WallClock:
    """Wall-clock times of a probe's time stamps, whose zero is not stated: the distances are the probe's.

    The zero is found from the first stamp and the moment it came in, and again whenever the two are more than two
    seconds apart: the probe was switched off, or one of the clocks was set.
    """

    def __init__(self) -> None:
        self._zero_ns: int | None = None

    def at(self, stamp_ns: int, arrived_ns: int) -> int:
        """Nanoseconds since 1970 of a stamp that came in at `arrived_ns`, also since 1970; 0 without a stamp."""
        if stamp_ns <= 0:
            return 0
        if self._zero_ns is None or abs(self._zero_ns + stamp_ns - arrived_ns) > _STEP_NS:
            self._zero_ns = arrived_ns - stamp_ns
        return self._zero_ns + stamp_ns


class Probe(NamedTuple):
    """What the maker publishes of a probe."""

    f0_hz: float
    """Centre frequency of the transducer; a clinical preset may transmit at another one, which follows depth."""
    array: Literal["linear", "curved", "phased"]


PROBES = {
    "L20": Probe(14e6, "linear"),
    "L15": Probe(10e6, "linear"),
    "L7": Probe(7.5e6, "linear"),
    "EC7": Probe(6.5e6, "curved"),
    "C7": Probe(6e6, "curved"),
    "C3": Probe(3.5e6, "curved"),
    "PH": Probe(5e6, "curved"),
    "PA2": Probe(2.4e6, "phased"),
    "PAL-phased": Probe(2.4e6, "phased"),
    "PAL-linear": Probe(10e6, "linear"),
}
"""Probes of the third generation (HD3), `docs/rf-frame-rate.md`, sections 4 and 5."""


class RawImage(NamedTuple):
    """The arguments of the callback of a raw image, in the maker's order."""

    image: Any
    """A buffer of bytes, which the maker reuses after the callback."""
    lines: int
    samples: int
    bits: int
    axial_um: float
    lateral_um: float
    time_ns: int
    """Nanoseconds since an event that is not stated."""
    jpeg_bytes: int
    """0 unless the image is compressed."""
    rf: int
    """Whether the image is RF; else it is an envelope of 8 bits."""
    angle_deg: float
    """Of volumetric data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClariusReading:
    """Properties of the frames that the probe does not send."""

    f0_hz: float | None = None
    """Centre frequency of the pulse; None: that of `probe`."""
    probe: str = ""
    """One of `PROBES`; empty: any."""
    fs_hz: float | None = None
    """Sampling frequency; None: computed from the microns of a sample."""
    sound_speed_m_s: float = MAKER_SOUND_SPEED_M_S
    radius_mm: float | None = None
    """Radius of a curved array, 0 of a phased one; None: the lines are parallel."""
    line_angle_deg: float | None = None
    """Angle between neighbouring lines; None: of a curved array, the microns of a line over the radius."""
    first_depth_mm: float = 0.0
    """Depth of row 0 below the array."""

    def __post_init__(self) -> None:
        names = ", ".join(PROBES)
        expect(self.probe in ("", *PROBES), "--probe", f"{self.probe!r}", f"one of {names}, or --f0-mhz")
        if self.f0_hz is None and not self.probe:
            raise OptionError(
                f"--f0-mhz: got none, expected the centre frequency of the pulse, or --probe, one of {names}, for the "
                "maker's figure"
            )
        options = {"f0_hz": "--f0-mhz", "fs_hz": "--fs-mhz", "sound_speed_m_s": "--sound-speed"}
        for name, option in options.items():
            if (value := getattr(self, name)) is not None:
                expect(0 < value < math.inf, option, f"{value:g}", "a finite number above 0")
                if fault := unit_fault(name, value):
                    raise OptionError(f"{option}: {fault}")
        if self.line_angle_deg is None and self.radius_mm == 0:
            raise OptionError("--radius-mm: got 0, of a phased array, expected --line-angle-deg with it")
        try:
            self._with_lines(Scan(fs_hz=40e6, f0_hz=5e6, sound_speed_m_s=1540, line_pitch_mm=0.2), 1000)
        except FrameError as error:
            raise OptionError(f"--radius-mm, --line-angle-deg, --first-depth-mm: {error}") from error

    def read(self, raw: RawImage) -> tuple[NDArray[Any], Scan]:
        """Samples (N, M) int16, a copy, and geometry of an image that is RF. Errors: `MalformedError`."""
        if raw.bits != _BITS or raw.jpeg_bytes:
            packed = f", packed into {raw.jpeg_bytes} bytes" if raw.jpeg_bytes else ""
            raise MalformedError(
                "field", f"RF: got {raw.bits} bits a sample{packed}, expected {_BITS} that are not packed"
            )
        n, m = raw.samples, raw.lines
        if not is_within_limits(n, m):
            raise MalformedError(
                "size", f"RF: got {n} samples by {m} lines, expected 1 or more with {LIMITS}"
            )
        octets = memoryview(raw.image).nbytes
        if octets != n * m * _BITS // 8:
            raise MalformedError(
                "size",
                f"RF: got {octets} bytes, expected {n * m * _BITS // 8} of {n} samples by {m} lines: packages of 2022 "
                "passed half of them (clariusdev/cast issue 54), take the one of the App's version",
            )
        samples = np.frombuffer(raw.image, "<i2").reshape(m, n).T.copy()
        return samples, self._scan(n, raw.axial_um, raw.lateral_um)

    def _scan(self, rows: int, axial_um: float, lateral_um: float) -> Scan:
        by_pitch = 1e6 * MAKER_SOUND_SPEED_M_S / (2 * axial_um) if axial_um > 0 else math.nan
        f0_hz = PROBES[self.probe].f0_hz if self.f0_hz is None else self.f0_hz
        try:
            scan = Scan(
                fs_hz=by_pitch if self.fs_hz is None else self.fs_hz,
                f0_hz=f0_hz,
                sound_speed_m_s=self.sound_speed_m_s,
                line_pitch_mm=lateral_um / 1e3,
            )
            return self._with_lines(scan, rows)
        except FrameError as error:
            raise MalformedError(
                "geometry",
                f"RF: got {axial_um:g} microns a sample and {lateral_um:g} a line at f0 {f0_hz / 1e6:g} MHz: {error}",
            ) from error

    def _with_lines(self, scan: Scan, rows: int) -> Scan:
        """`scan` of lines at a distance on the array, as that of the lines as they lie. Errors: `FrameError`."""
        if self.radius_mm is None:
            return replace(scan, line_angle_deg=self.line_angle_deg, first_depth_mm=self.first_depth_mm)
        angle_deg = self.line_angle_deg
        if angle_deg is None:
            angle_deg = math.degrees(scan.line_pitch_mm / self.radius_mm)
        length_mm = rows * 1e3 * scan.sound_speed_m_s / (2 * scan.fs_hz)
        return replace(
            scan,
            line_pitch_mm=half_way_pitch_mm(self.radius_mm, angle_deg, self.first_depth_mm, length_mm),
            radius_mm=self.radius_mm,
            line_angle_deg=angle_deg,
            first_depth_mm=self.first_depth_mm,
        )
