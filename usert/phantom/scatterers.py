"""The tissue: point scatterers at random places with random strengths.

Knows nothing of the beam. Invariant: positions are uniform over the given box and strengths have mean 0, so the
image has no coherent part (fully developed speckle where a resolution cell holds ten or more).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .field import Array, Field


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatterers:
    """A cloud of K scatterers: positions in mm and amplitudes, three arrays (K,)."""

    z_mm: Array
    x_mm: Array
    amplitude: Array

    def moved(self, field: Field) -> Scatterers:
        """The same scatterers, each displaced by `field`."""
        dz, dx = field(self.z_mm, self.x_mm)
        return Scatterers(z_mm=self.z_mm + dz, x_mm=self.x_mm + dx, amplitude=self.amplitude)


def random_scatterers(
    rng: np.random.Generator,
    *,
    z_mm: tuple[float, float],
    x_mm: tuple[float, float],
    per_mm2: float,
) -> Scatterers:
    """Scatterers at uniformly random places in the box `z_mm` × `x_mm`, `per_mm2` of them on average, float64 numpy.

    Their amplitudes are normal with mean 0 and variance 1.
    """
    count = max(1, round(per_mm2 * (z_mm[1] - z_mm[0]) * (x_mm[1] - x_mm[0])))
    return Scatterers(
        z_mm=rng.uniform(*z_mm, count),
        x_mm=rng.uniform(*x_mm, count),
        amplitude=rng.standard_normal(count),
    )
