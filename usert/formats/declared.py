"""What a foreign file says of its own geometry, where a person need not say it.

Knows no format. Invariant: a number is what the file says, in its own words; what it does not say is None.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..errors import OptionError
from ..frame import Scan

SOUND_SPEED_M_S = 1540.0
"""Of soft tissue, by convention; what scanners reckon with where nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """Numbers of a scan, as far as they are known."""

    fs_hz: float | None = None
    axial_pitch_mm: float | None = None
    """Instead of `fs_hz`: distance of neighbouring samples."""
    f0_hz: float | None = None
    line_pitch_mm: float | None = None
    sound_speed_m_s: float | None = None

    def over(self, other: Declared) -> Declared:
        """These numbers, and those of `other` that are missing here."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return Declared(**{name: b if a is None else a for name, (a, b) in pairs.items()})

    def scan(self) -> Scan:
        """Errors: `OptionError` for what is missing, by the option that gives it; `FrameError` for nonsense."""
        sound_speed = self.sound_speed_m_s or SOUND_SPEED_M_S
        fs_hz = self.fs_hz
        if fs_hz is None and self.axial_pitch_mm:
            fs_hz = 1e3 * sound_speed / (2 * self.axial_pitch_mm)
        found = {"--fs-mhz": fs_hz, "--f0-mhz": self.f0_hz, "--line-pitch-mm": self.line_pitch_mm}
        if missing := [option for option, value in found.items() if value is None]:
            raise OptionError(f"{', '.join(missing)}: got none, and the file does not say")
        assert fs_hz is not None
        assert self.f0_hz is not None
        assert self.line_pitch_mm is not None
        return Scan(
            fs_hz=fs_hz, f0_hz=self.f0_hz, sound_speed_m_s=sound_speed, line_pitch_mm=self.line_pitch_mm
        )
