"""Scan conversion: images of a curved or phased array from beam space to millimetres.

Strain is computed in beam space; only what is shown is converted. Invariant: a value of the fan lies between those of
the four samples around it; outside the fan it is NaN.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from usert.errors import OptionError

_TEXT = re.compile(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """The geometry of lines at even angles whose first samples lie on an arc."""

    radius_mm: float
    """Radius of that arc; 0 for a phased array, whose lines begin in one point."""
    degrees: float
    """Angle from the first line to the last."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.radius_mm) and 0 <= self.radius_mm <= 500 and 0 < self.degrees < 180):
            raise OptionError(
                f"fan: got {self.radius_mm:g} mm and {self.degrees:g} degrees, expected 0 to 500 mm, and above 0 and"
                " below 180 degrees"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `RADIUS:DEGREES`, such as `60:58`. Errors: `OptionError`."""
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise OptionError(f"fan: got {text!r}, expected RADIUS:DEGREES in mm, such as 60:58")
        return cls(radius_mm=float(match[1]), degrees=float(match[2]))

    def extent_mm(self, depth_mm: float) -> tuple[float, float]:
        """Height and width of the rectangle around lines of that length."""
        half, far = math.radians(self.degrees / 2), self.radius_mm + depth_mm
        return far - self.radius_mm * math.cos(half), 2 * far * math.sin(min(half, math.pi / 2))

    def lay_out(self, image: NDArray[Any], *, depth_mm: float, size: tuple[int, int]) -> NDArray[np.float32]:
        """Convert `image` (N, M) with lines of `depth_mm` to `size` (height, width) pixels; NaN outside the fan."""
        rows, lines = image.shape
        height_mm, width_mm = self.extent_mm(depth_mm)
        half = math.radians(self.degrees / 2)
        z = self.radius_mm * math.cos(half) + (np.arange(size[0]) + 0.5) * height_mm / size[0]
        x = ((np.arange(size[1]) + 0.5) / size[1] - 0.5) * width_mm
        across, down = np.meshgrid(x, z)
        row = (np.hypot(across, down) - self.radius_mm) / depth_mm * (rows - 1)
        line = (np.arctan2(across, down) / (2 * half) + 0.5) * (lines - 1)
        inside = (row >= 0) & (row <= rows - 1) & (line >= 0) & (line <= lines - 1)
        laid = np.full(size, np.nan, np.float32)
        laid[inside] = _between(image, row[inside], line[inside])
        return laid


def _between(image: NDArray[Any], row: NDArray[Any], line: NDArray[Any]) -> NDArray[Any]:
    """Bilinear interpolation at positions inside the image."""
    top = np.minimum(row.astype(int), max(image.shape[0] - 2, 0))
    left = np.minimum(line.astype(int), max(image.shape[1] - 2, 0))
    bottom = np.minimum(top + 1, image.shape[0] - 1)
    right = np.minimum(left + 1, image.shape[1] - 1)
    down, across = row - top, line - left
    upper = image[top, left] * (1 - across) + image[top, right] * across
    lower = image[bottom, left] * (1 - across) + image[bottom, right] * across
    found: NDArray[Any] = upper * (1 - down) + lower * down
    return found
