"""What a foreign file states of itself, where a person need not state it.

Knows no format. Invariant: a number is what the file states, in its own words; what it does not state is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from ..beam_space import half_way_pitch_mm
from ..errors import OptionError
from ..frame import Scan

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
    delay_samples: float | None = None
    """Samples between the probe and the first row that are not in the file."""
    first_depth_mm: float | None = None
    """Instead of `delay_samples`: depth of the first row."""
    radius_mm: float | None = None
    line_angle_deg: float | None = None
    """Of a curved or phased array."""

    def __str__(self) -> str:
        stated = {f.name: getattr(self, f.name) for f in fields(self)}
        return ", ".join(f"{name} {x:.6g}" for name, x in stated.items() if x is not None) or "no geometry"

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

    def scan(self) -> Scan:
        """The scan of these numbers.

        Errors: `OptionError` for what is missing, by the option that gives it; `FrameError`.
        """
        sound_speed = self.sound_speed_m_s or SOUND_SPEED_M_S
        fs_hz = self._fs_hz(sound_speed)
        found = {"--fs-mhz": fs_hz, "--f0-mhz": self.f0_hz, "--line-pitch-mm": self.line_pitch_mm}
        if self.radius_mm is not None or self.line_angle_deg is not None:
            found |= {"--radius-mm": self.radius_mm, "--line-angle-deg": self.line_angle_deg}
        if missing := [option for option, value in found.items() if value is None]:
            raise OptionError(f"{', '.join(missing)}: got none, and the file does not say")
        assert fs_hz is not None
        assert self.f0_hz is not None
        assert self.line_pitch_mm is not None
        return Scan(
            fs_hz=fs_hz,
            f0_hz=self.f0_hz,
            sound_speed_m_s=sound_speed,
            line_pitch_mm=self.line_pitch_mm,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What one file states of itself before its samples are read."""

    geometry: Declared = Declared()
    acquired_ns: tuple[int, ...] = ()
    """Time of each frame that the reader yields; empty where the file does not state it."""
    notes: tuple[str, ...] = ()
    """What a person should know, one line each."""
