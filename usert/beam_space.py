"""Where the samples of an image lie: the map between rows and lines and millimetres, and images laid out by it.

x runs across, z down, both in mm. Parallel lines: x = line · pitch from the first line, z = depth. Lines of a curved or
phased array of radius R are at even angles a about the centre line, where x is 0, and depth 0 lies on the array:
x = (R + depth) sin a, z = (R + depth) cos a - R, so that z is depth on the centre line.

Strain is computed in beam space; only what is shown or measured in mm goes through here. Invariant: a pixel of an image
laid out lies between the four samples around it; outside the outermost samples' borders there is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .frame import Scan, Shape

Span: TypeAlias = tuple[float, float]
"""From and to, in mm."""
_TOLERANCE = 1e-9
"""Share of a sample by which one may miss a border and lies on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamSpace:
    """The grid of an image (N, M) of rows along depth and lines across."""

    shape: Shape
    first: tuple[float, float]
    """Depth of row 0 in mm, and place of line 0: mm across, of a curved or phased array its angle in rad."""
    step: tuple[float, float]
    """From row to row in mm, and from line to line in the unit of `first`."""
    radius_mm: float | None = None
    """Radius of a curved array, 0 of a phased one; None: the lines are parallel."""

    @classmethod
    def of(cls, scan: Scan, shape: Shape) -> Self:
        """The grid of frames of `shape` (N, M)."""
        if scan.radius_mm is None or scan.line_angle_deg is None:
            return cls(shape=shape, first=(scan.first_depth_mm, 0.0), step=scan.pitch_mm)
        angle = math.radians(scan.line_angle_deg)
        first = scan.first_depth_mm, -angle * (shape[1] - 1) / 2
        return cls(shape=shape, first=first, step=(scan.axial_pitch_mm, angle), radius_mm=scan.radius_mm)

    def every(self, step: tuple[int, int]) -> Self:
        """The grid of every k-th row and l-th line, from the first."""
        (n, m), (down, across) = self.shape, step
        pitch = down * self.step[0], across * self.step[1]
        return replace(self, shape=(math.ceil(n / down), math.ceil(m / across)), step=pitch)

    def resampled(self, shape: Shape) -> Self:
        """The grid of the same area in `shape` samples."""
        ratio = self.shape[0] / shape[0], self.shape[1] / shape[1]
        first = [a + s * (r - 1) / 2 for a, s, r in zip(self.first, self.step, ratio, strict=True)]
        step = ratio[0] * self.step[0], ratio[1] * self.step[1]
        return replace(self, shape=shape, first=(first[0], first[1]), step=step)

    def place_mm(self, row: Any, line: Any) -> tuple[Any, Any]:
        """(z, x) of positions in rows and lines, which may be fractions, numbers or arrays."""
        depth, across = self.first[0] + row * self.step[0], self.first[1] + line * self.step[1]
        if self.radius_mm is None:
            return depth, across
        radius = self.radius_mm + depth
        return radius * np.cos(across) - self.radius_mm, radius * np.sin(across)

    def position(self, z: Any, x: Any) -> tuple[Any, Any]:
        """(row, line) of places in mm, fractions; the inverse of `place_mm`, inside the image or not."""
        if self.radius_mm is not None:
            down = z + self.radius_mm
            z, x = np.hypot(x, down) - self.radius_mm, np.arctan2(x, down)
        return (z - self.first[0]) / self.step[0], (x - self.first[1]) / self.step[1]

    @property
    def bounds_mm(self) -> tuple[Span, Span]:
        """The rectangle around the image: z and x from and to.

        Of parallel lines it begins at the first sample and line; of others at the borders of the outermost samples.
        """
        n, m = self.shape
        if self.radius_mm is None:
            top, left = self.first
            return (top, top + n * self.step[0]), (left, left + m * self.step[1])
        a, b = (self.first[1] + line * self.step[1] for line in (-0.5, m - 0.5))
        turns = [k * math.pi / 2 for k in range(-4, 5) if a < k * math.pi / 2 < b]
        angles = np.array([a, b, *turns])
        radii = [max(0.0, self.radius_mm + self.first[0] + row * self.step[0]) for row in (-0.5, n - 0.5)]
        z, x = (np.outer(radii, f(angles)) for f in (np.cos, np.sin))
        return (
            (float(z.min()) - self.radius_mm, float(z.max()) - self.radius_mm),
            (float(x.min()), float(x.max())),
        )

    @property
    def extent_mm(self) -> tuple[float, float]:
        """Height and width of `bounds_mm`."""
        (top, bottom), (left, right) = self.bounds_mm
        return bottom - top, right - left

    def pixels_in(self, z: Span, x: Span) -> tuple[slice, slice, NDArray[np.bool_] | None] | None:
        """The samples whose centres lie in a rectangle: rows, lines, and which of them, None for all.

        None where the rectangle is not wholly inside the image.
        """
        mask = None
        if self.radius_mm is None:
            rows, lines = _within(z, self.first[0], self.step[0]), _within(x, self.first[1], self.step[1])
        else:
            down = z[0] + self.radius_mm, z[1] + self.radius_mm
            if down[0] <= 0:
                return None
            near = math.hypot(min(max(0.0, x[0]), x[1]), down[0]) - self.radius_mm
            far = math.hypot(max(-x[0], x[1]), down[1]) - self.radius_mm
            left, right = (end([math.atan2(at, d) for d in down]) for end, at in ((min, x[0]), (max, x[1])))
            rows = _within((near, far), self.first[0], self.step[0])
            lines = _within((left, right), self.first[1], self.step[1])
        if min(rows.start, lines.start) < 0 or rows.stop > self.shape[0] or lines.stop > self.shape[1]:
            return None
        if self.radius_mm is not None:
            at_z, at_x = self.place_mm(
                np.arange(rows.start, rows.stop)[:, np.newaxis], np.arange(lines.start, lines.stop)
            )
            little = _TOLERANCE * self.step[0]
            mask = (at_z >= z[0] - little) & (at_z <= z[1] + little)
            mask &= (at_x >= x[0] - little) & (at_x <= x[1] + little)
        return rows, lines, mask

    def laid_out(self, image: NDArray[Any], size: Shape) -> NDArray[np.float32]:
        """`image` (N, M) of a curved or phased array in `size` (height, width) pixels over `bounds_mm`; NaN outside."""
        return _layout(self, size).of(image)


def half_way_pitch_mm(
    radius_mm: float, line_angle_deg: float, first_depth_mm: float, length_mm: float
) -> float:
    """Distance between neighbouring lines of a curved or phased array in the middle of their `length_mm`."""
    return (radius_mm + first_depth_mm + length_mm / 2) * math.radians(line_angle_deg)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Layout:
    """For each pixel inside the image the four samples around it and their weights."""

    inside: NDArray[np.bool_]
    samples: tuple[NDArray[np.intp], ...]
    weights: tuple[NDArray[np.float32], ...]

    def of(self, image: NDArray[Any]) -> NDArray[np.float32]:
        values = np.ascontiguousarray(image, np.float32).ravel()
        laid = np.full(self.inside.shape, np.nan, np.float32)
        laid[self.inside] = sum(
            values[at] * weight for at, weight in zip(self.samples, self.weights, strict=True)
        )
        return laid


@lru_cache(maxsize=4)
def _layout(space: BeamSpace, size: Shape) -> _Layout:
    (n, m), ((top, bottom), (left, right)) = space.shape, space.bounds_mm
    z = top + (np.arange(size[0]) + 0.5)[:, np.newaxis] * (bottom - top) / size[0]
    x = left + (np.arange(size[1]) + 0.5) * (right - left) / size[1]
    row, line = np.broadcast_arrays(*space.position(z, x))
    inside = (row >= -0.5) & (row <= n - 0.5) & (line >= -0.5) & (line <= m - 0.5)
    row, line = np.clip(row[inside], 0, n - 1), np.clip(line[inside], 0, m - 1)
    above, before = (np.minimum(at.astype(np.intp), max(count - 2, 0)) for at, count in ((row, n), (line, m)))
    below, after = np.minimum(above + 1, n - 1), np.minimum(before + 1, m - 1)
    down, across = (row - above).astype(np.float32), (line - before).astype(np.float32)
    return _Layout(
        inside=inside,
        samples=(above * m + before, above * m + after, below * m + before, below * m + after),
        weights=(
            (1 - down) * (1 - across),
            (1 - down) * across,
            down * (1 - across),
            down * across,
        ),
    )


def _within(span: Span, first: float, step: float) -> slice:
    start, stop = ((mm - first) / step for mm in span)
    return slice(math.ceil(start - _TOLERANCE), math.floor(stop + _TOLERANCE) + 1)
