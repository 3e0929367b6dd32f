"""A fast estimate of the motion between two frames: enough to choose pairs, not to image.

Block matching on a few groups of lines and a robust line through the displacement over depth. Invariant: two equal
frames have strain 0 and correlation 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.estimators import block_matching
from usert.quality import warped_ncc

GROUPS, GROUP_LINES = 3, 15
"""Groups of neighbouring lines that are matched, and lines of each."""
THIN = 16
"""Rows from one displacement to the next in the fit."""
MOST_SAMPLES = 128
"""Largest displacement looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """Motion between two frames."""

    strain: float
    """Mean axial strain as a fraction, compression positive."""
    correlation: float
    """Median local correlation after matching."""


def measure_motion(
    first: NDArray[Any], second: NDArray[Any], mask: NDArray[np.bool_], *, largest_strain: float
) -> Motion:
    """Strain and correlation of a pair (N, M), where `mask` (N, M) marks echoes.

    The strain is the median slope between all pairs of depths a quarter of the frame apart or more (after Theil and
    Sen), so that outliers up to a fourth of the depths do not move it; the search covers ± `largest_strain`. NaN where
    nothing matches.
    """
    rows, lines = first.shape
    reach = min(MOST_SAMPLES, rows // 4, math.ceil(largest_strain * rows) + 8)
    slopes, correlations = [], []
    for left in np.linspace(0, max(0, lines - GROUP_LINES), GROUPS).round().astype(int):
        group = slice(int(left), int(left) + GROUP_LINES)
        seen = mask[:, group].mean(axis=1) > 0.5
        a, b = (np.nan_to_num(frame[:, group].astype(np.float64)) for frame in (first, second))
        if seen.sum() < rows // 8 or not (np.ptp(a) and np.ptp(b)):
            continue
        d = block_matching(a, b, max_axial=reach, max_lateral=1)
        ncc = warped_ncc(a, b, d)
        at = np.flatnonzero(seen)[::THIN]
        slopes.append(_slope(at, np.median(d[0][at], axis=1)))
        correlations.append(np.median(ncc[seen]))
    if not slopes:
        return Motion(strain=math.nan, correlation=0.0)
    return Motion(strain=-float(np.median(slopes)), correlation=float(np.median(correlations)))


def _slope(at: NDArray[np.intp], values: NDArray[np.floating]) -> float:
    """Median slope between points that are far apart."""
    distance = np.subtract.outer(at, at).astype(np.float64)
    far = distance >= max(1.0, (at[-1] - at[0]) / 4)
    return float(np.median(np.subtract.outer(values, values)[far] / distance[far])) if far.any() else 0.0
