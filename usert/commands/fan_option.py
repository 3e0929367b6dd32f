"""`--fan` of `usert run`: the lines of a recording that does not state how they lie."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from usert.errors import OptionError
from usert.frame import Scan

_TEXT = re.compile(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Fan:
    """A curved or phased array as a person describes it."""

    radius_mm: float
    """Radius of the array, 0 of a phased one."""
    degrees: float
    """Angle from the first line to the last."""

    def over(self, scan: Scan, lines: int) -> Scan:
        """`scan` with these `lines` at even angles. Errors: `FrameError` for few lines at a wide angle."""
        angle_deg = self.degrees / max(lines - 1, 1)
        return replace(scan, radius_mm=self.radius_mm, line_angle_deg=angle_deg)


def parse_fan(text: str) -> Fan:
    """`RADIUS:DEGREES`, such as `60:58`. Errors: `OptionError`."""
    match = _TEXT.fullmatch(text.strip())
    fan = None if match is None else Fan(float(match[1]), float(match[2]))
    if fan is None or fan.radius_mm > 500 or not 0 < fan.degrees < 180:
        raise OptionError(
            f"--fan: got {text!r}, expected RADIUS:DEGREES, such as 60:58: 0 to 500 mm, above 0 and below 180 degrees"
        )
    return fan
