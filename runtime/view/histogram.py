"""The histogram of strain in a region: the pixels that may be read, and no others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

BINS = 32
_LEAST_WIDTH = 1e-5
"""Of a bin: strain comes in steps of this size (`planes.STRAIN_UNIT`)."""
_SHARE_SHOWN = 0.005
"""Share of the pixels that may lie beyond each end; they are counted in the outermost bins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Strain of the readable pixels of one region of one image; strain is a fraction, compression positive."""

    first: float
    """Lower end of the first bin."""
    width: float
    """Of each bin; a round number."""
    counts: tuple[int, ...]
    """Pixels in each bin; those beyond the ends count in the outermost."""
    mean: float
    median: float
    spread: float
    """Standard deviation."""
    readable_share: float
    """Of the pixels of the region."""

    @classmethod
    def of(
        cls,
        strain: NDArray[Any],
        quality: NDArray[Any],
        readable_quality: float,
        mask: NDArray[np.bool_] | None = None,
    ) -> Self | None:
        """The histogram of a part of an image (n, m), of the pixels in `mask` alone; None where nothing may be read."""
        readable = (quality >= readable_quality) & np.isfinite(strain)
        if mask is not None:
            readable &= mask
        values = strain[readable].astype(np.float64)
        if values.size == 0:
            return None
        low, median, high = np.quantile(values, (_SHARE_SHOWN, 0.5, 1 - _SHARE_SHOWN))
        width = _round_up(max(_LEAST_WIDTH, (high - low) / (BINS - 1)))
        first = math.floor(low / width + 1e-9) * width
        at = np.floor((values - first) / width + 1e-9).clip(0, BINS - 1).astype(np.intp)
        return cls(
            first=first,
            width=width,
            counts=tuple(np.bincount(at, minlength=BINS).tolist()),
            mean=float(values.mean()),
            median=float(median),
            spread=float(values.std()),
            readable_share=values.size / (readable.size if mask is None else int(np.count_nonzero(mask))),
        )


def _round_up(width: float) -> float:
    """The next number of 1, 2 or 5 times a power of ten."""
    decade = 10.0 ** math.floor(math.log10(width))
    return float(next(factor * decade for factor in (1, 2, 5, 10) if factor * decade >= width * (1 - 1e-9)))
