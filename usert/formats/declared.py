"""What a foreign file states of itself, where a person need not state it.

Knows no format. Invariant: a number is what the file states, in its own words; what it does not state is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from ..beam_space import half_way_pitch_mm
from ..errors import FrameError, OptionError
from ..frame import Demodulation, Kind, Scan
from ..units import unit_fault
from .options import SampleKind

SOUND_SPEED_M_S = 1540.0
"""Of soft tissue, by convention; what scanners reckon with where nothing is stated."""
_SAME = 0.005
"""Numbers that differ by less than this share agree: headers round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """Numbers of a scan, as far as they are known."""

    fs_hz: float | None = None
    axial_pitch_mm: float | None = None
    """Instead of `fs_hz`: distance of neighbouring samples."""
    f0_hz: float | None = None
    line_pitch_mm: float | None = None
    sound_speed_m_s: float | None = None
    demodulation_hz: Demodulation | None = None
    """Frequency by which IQ was turned down; 0: not at all, its real part is RF."""
    delay_samples: float | None = None
    """Samples between the probe and the first row that are not in the file."""
    first_depth_mm: float | None = None
    """Instead of `delay_samples`: depth of the first row."""
    radius_mm: float | None = None
    line_angle_deg: float | None = None
    """Of a curved or phased array."""

    def __str__(self) -> str:
        stated = {f.name: getattr(self, f.name) for f in fields(self)}
        return (
            ", ".join(f"{name} {_shown(x)}" for name, x in stated.items() if x is not None) or "no geometry"
        )

    def over(self, other: Declared) -> Declared:
        """These numbers, and those of `other` that are missing here."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        both = Declared(**{name: b if a is None else a for name, (a, b) in pairs.items()})
        if self.line_angle_deg is None and both.radius_mm is None:  # steered lines of whatever array
            return replace(both, line_angle_deg=None)
        return both

    def of_rows(self, rows: int, cut: int = 0) -> Declared:
        """With what follows for frames of `rows` below `cut` rows that are left out: the depth of the first of them,
        and of a curved or phased array the line pitch half-way down.
        """
        if (pitch_mm := self._pitch_mm()) is None:
            return self
        depth_mm = (self._depth_mm() or 0.0) + cut * pitch_mm
        line_pitch_mm = self.line_pitch_mm
        if line_pitch_mm is None and self.radius_mm is not None and self.line_angle_deg is not None:
            line_pitch_mm = half_way_pitch_mm(self.radius_mm, self.line_angle_deg, depth_mm, rows * pitch_mm)
        return replace(self, first_depth_mm=depth_mm, delay_samples=None, line_pitch_mm=line_pitch_mm)

    def scan(self, kind: Kind = "rf") -> Scan:
        """The scan of samples of that kind; of IQ the demodulation frequency stands in for an f0 that is not known.

        Errors: `OptionError` for what is missing, by the option that gives it; `FrameError`.
        """
        sound_speed = self.sound_speed_m_s or SOUND_SPEED_M_S
        fs_hz, f0_hz = self._fs_hz(sound_speed), self.f0_hz
        found: dict[str, Demodulation | None] = {"--fs-mhz": fs_hz}
        if kind == "iq":
            found["--demodulation-mhz"] = self.demodulation_hz
            f0_hz = _middle(self.demodulation_hz) if f0_hz is None else f0_hz
        else:
            found["--f0-mhz"] = f0_hz
        found["--line-pitch-mm"] = self.line_pitch_mm
        if self.radius_mm is not None or self.line_angle_deg is not None:
            found |= {"--radius-mm": self.radius_mm, "--line-angle-deg": self.line_angle_deg}
        if kind == "iq" and self.demodulation_hz == 0:
            raise OptionError(
                "--demodulation-mhz: got 0, so the carrier is still there: --kind rf takes the real part"
            )
        if (hz := _middle(self.demodulation_hz)) and (fault := unit_fault("demodulation_hz", hz)):
            raise FrameError(fault)
        missing = [option for option, value in found.items() if value is None]
        if "--radius-mm" in found and len(missing) > 1:  # the pitch follows from the others
            missing = [option for option in missing if option != "--line-pitch-mm"]
        if missing:
            iq = "; its samples are IQ" if "--demodulation-mhz" in missing else ""
            raise OptionError(f"{', '.join(missing)}: got none, and the file does not say{iq}")
        assert fs_hz is not None
        assert f0_hz is not None
        assert self.line_pitch_mm is not None
        return Scan(
            fs_hz=fs_hz,
            f0_hz=f0_hz,
            sound_speed_m_s=sound_speed,
            line_pitch_mm=self.line_pitch_mm,
            demodulation_hz=self.demodulation_hz if kind == "iq" else None,
            radius_mm=self.radius_mm,
            line_angle_deg=self.line_angle_deg,
            first_depth_mm=self.first_depth_mm or 0.0,
        )

    def contradicting(self, file: Declared) -> Iterator[str]:
        """One line for each of these numbers that `file` states otherwise."""
        sound_speed = self.sound_speed_m_s or file.sound_speed_m_s or SOUND_SPEED_M_S
        pairs = (
            ("--fs-mhz", "MHz", self.fs_hz, file._fs_hz(sound_speed), 1e6),
            ("--f0-mhz", "MHz", self.f0_hz, file.f0_hz, 1e6),
            ("--line-pitch-mm", "mm", self.line_pitch_mm, file.line_pitch_mm, 1),
            ("--sound-speed", "m/s", self.sound_speed_m_s, file.sound_speed_m_s, 1),
            ("--radius-mm", "mm", self.radius_mm, file.radius_mm, 1),
            ("--line-angle-deg", "degrees", self.line_angle_deg, file.line_angle_deg, 1),
            ("--first-depth-mm", "mm", self.first_depth_mm, file._depth_mm(), 1),
            (
                "--demodulation-mhz",
                "MHz",
                _middle(self.demodulation_hz),
                _middle(file.demodulation_hz),
                1e6,
            ),
        )
        for option, unit, asked, stated, scale in pairs:
            if asked is not None and stated is not None and not math.isclose(asked, stated, rel_tol=_SAME):
                yield (
                    f"{option} {asked / scale:.6g}: taken, but the file states {stated / scale:.6g} {unit};"
                    f" leave the option out to take that"
                )

    def _depth_mm(self) -> float | None:
        """Depth of the first row, None where it is not known."""
        pitch_mm = self._pitch_mm()
        if self.first_depth_mm is not None or self.delay_samples is None or pitch_mm is None:
            return self.first_depth_mm
        return self.delay_samples * pitch_mm

    def _pitch_mm(self) -> float | None:
        sound_speed = self.sound_speed_m_s or SOUND_SPEED_M_S
        fs_hz = self._fs_hz(sound_speed)
        return 1e3 * sound_speed / (2 * fs_hz) if fs_hz else None

    def _fs_hz(self, sound_speed_m_s: float) -> float | None:
        if self.fs_hz is None and self.axial_pitch_mm:
            return 1e3 * sound_speed_m_s / (2 * self.axial_pitch_mm)
        return self.fs_hz


def parse_demodulation(text: str) -> Demodulation:
    """Hz of `X` in MHz, or of `row:X,row:X,…` for one that changes with depth. Errors: `OptionError`."""
    try:
        if ":" not in text:
            return 1e6 * float(text)
        steps = (step.split(":") for step in text.split(","))
        return tuple((float(row), 1e6 * float(mhz)) for row, mhz in steps)
    except ValueError as error:
        raise OptionError(
            f"--demodulation-mhz: got {text!r}, expected MHz, or row:MHz,row:MHz,… where it changes with depth"
        ) from error


def _middle(demodulation: Demodulation | None) -> float | None:
    """One frequency for all depths, in Hz."""
    if not isinstance(demodulation, tuple):
        return demodulation
    return sum(hz for _, hz in demodulation) / len(demodulation)


def _shown(value: Demodulation) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What one file states of itself before its samples are read."""

    kind: SampleKind | None = None
    """What the samples are, where the file states it beside them."""
    geometry: Declared = Declared()
    acquired_ns: tuple[int, ...] = ()
    """Time of each frame that the reader yields; empty where the file does not state it."""
    notes: tuple[str, ...] = ()
    """What a person should know, one line each."""

    def __str__(self) -> str:
        return str(self.geometry) if self.kind is None else f"{self.kind}, {self.geometry}"
