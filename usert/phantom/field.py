"""Displacement fields: how far each point of the tissue moves.

A field is a function of the point, not of a grid, so the same formula moves the scatterers and writes the truth.
Knows nothing of scatterers, beams or time. Invariant: `field(z, x)` takes two arrays of one shape, numpy or
torch, in mm (z depth from the probe, x across the lines) and returns (dz, dx) in mm, shaped alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace

Array: TypeAlias = Any
"""A numpy array or torch tensor; the array API has no common type for them."""

Field: TypeAlias = Callable[[Array, Array], tuple[Array, Array]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Uniform compression of a slab that slides freely under the probe."""

    strain: float
    """Axial strain, compression positive: dz = -strain · z."""
    lateral_ratio: float = 1.0
    """Lateral stretch per axial compression: 1 for incompressible plane strain."""
    centre_x_mm: float = 0.0
    """Lateral position of the line that does not move sideways."""

    def __call__(self, z: Array, x: Array) -> tuple[Array, Array]:
        return -self.strain * z, self.lateral_ratio * self.strain * (x - self.centre_x_mm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rigid:
    """The same shift everywhere, as when the hand moves the probe."""

    dz_mm: float
    dx_mm: float

    def __call__(self, z: Array, x: Array) -> tuple[Array, Array]:
        return 0 * z + self.dz_mm, 0 * x + self.dx_mm


@dataclass(frozen=True, slots=True, kw_only=True)
class Waves:
    """A sum of plane cosine waves: smooth motion of any shape, such as tissue that slides and turns."""

    rows: tuple[tuple[float, float, float, float, float], ...]
    """One wave a row: axial amplitude (mm), lateral amplitude (mm), kz, kx (rad/mm), phase (rad)."""

    def __call__(self, z: Array, x: Array) -> tuple[Array, Array]:
        xp = array_namespace(z)
        dz, dx = 0 * z, 0 * x
        for axial, lateral, kz, kx, phase in self.rows:
            wave = xp.cos(kz * z + kx * x + phase)
            dz, dx = dz + axial * wave, dx + lateral * wave
        return dz, dx


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """The sum of fields at the same point (linear elasticity: loads superpose)."""

    fields: tuple[Field, ...]

    def __call__(self, z: Array, x: Array) -> tuple[Array, Array]:
        dz, dx = 0 * z, 0 * x
        for field in self.fields:
            more_z, more_x = field(z, x)
            dz, dx = dz + more_z, dx + more_x
        return dz, dx


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """A field times a number: the same load, applied harder or more gently."""

    field: Field
    scale: float

    def __call__(self, z: Array, x: Array) -> tuple[Array, Array]:
        dz, dx = self.field(z, x)
        return self.scale * dz, self.scale * dx


def between(first: Field, second: Field, z: Array, x: Array, *, iterations: int = 12) -> tuple[Array, Array]:
    """Displacement (dz, dx) in mm from the state `first` to the state `second` of points at (z, x) in the first.

    Both fields start from the same rest state: the rest position is found by fixed-point iteration, whose error shrinks
    by the largest slope of `first` each time (3 %: 1e-18 after 12; 9 %, as at the rim of a void: 1e-13).
    """
    rest_z, rest_x = z, x
    for _ in range(iterations):
        dz, dx = first(rest_z, rest_x)
        rest_z, rest_x = z - dz, x - dx
    first_z, first_x = first(rest_z, rest_x)
    second_z, second_x = second(rest_z, rest_x)
    return second_z - first_z, second_x - first_x


def grid_mm(
    shape: tuple[int, int], axial_pitch_mm: float, line_pitch_mm: float
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.float64]]]:
    """Depth and lateral position in mm, two arrays (N, M), of a frame's samples: row 0 at depth 0, line 0 at x = 0."""
    z, x = np.meshgrid(
        np.arange(shape[0]) * axial_pitch_mm, np.arange(shape[1]) * line_pitch_mm, indexing="ij"
    )
    return z, x
