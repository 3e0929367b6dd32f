"""A simulated press of a trembling hand, in which the probe jumps."""

from __future__ import annotations

from usert.phantom.field import Field, Rigid, Sum
from usert.phantom.scanner import SimulatedScanner


class Press(SimulatedScanner):
    """A press in which the probe jumps by 30 samples before frame `JUMP`."""

    JUMP = 10

    def _state(self, k: int) -> Field:
        moved = (k % 3) * 0.5 + (30.0 if k >= self.JUMP else 0.0)  # the hand trembles, too
        return Sum(fields=(super()._state(k), Rigid(dz_mm=moved * self.scan.axial_pitch_mm, dx_mm=0.0)))
