"""The strain range of the colours, from image to image.

The range follows the compression at once and the contrast within the image slowly, so that tissue keeps its colour
while the hand presses more or less; on release strain is negative, and so is the end of the range. Invariant: the range
is never narrower than `LEAST`, or the noise of a still probe would look like tissue.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST = 1e-3
_SOFT_PERCENT = 98.0
_FOLLOWING = 0.1
_EVIDENT = 5e-4
"""|Mean strain| from which on an image updates the contrast."""
_TYPICAL = 1.3
"""Contrast, softest strain over mean strain, before the first update."""


class StrainRange:
    """Follows the range over consecutive images."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget earlier images, as for a new session."""
        self._contrast: float | None = None

    def soft_end(self, strain: NDArray[Any], quality: NDArray[Any], readable_quality: float) -> float:
        """Strain of the softest colour, a fraction, negative on release; the hardest colour stands for 0."""
        values = strain[(quality >= readable_quality) & np.isfinite(strain)]
        if values.size < 0.01 * strain.size:
            return LEAST
        mean = float(values.mean(dtype=np.float64))
        sign = -1.0 if mean < 0 else 1.0
        if abs(mean) > _EVIDENT:
            contrast = min(5.0, float(np.percentile(sign * values, _SOFT_PERCENT)) / abs(mean))
            before = contrast if self._contrast is None else self._contrast
            self._contrast = before + _FOLLOWING * (contrast - before)
        return sign * max(LEAST, (self._contrast or _TYPICAL) * abs(mean))
