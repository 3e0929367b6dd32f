"""Strain from displacement: the slope of a straight line fitted along depth.

Least-squares strain estimator: Kallel and Ophir, Ultrasonic Imaging 19 (1997) 195-208. Knows arrays and the geometry of
a scan. Invariant: a displacement that is linear along depth gives its exact slope at every sample, the ends included;
compression is positive.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import OptionError
from .frame import Scan

STRAIN_WINDOW_SAMPLES = 97
"""Default length of the fit: 1.87 mm at 40 MHz."""


def window_samples(scan: Scan, window_mm: float) -> int:
    """Odd number of samples, at least 3, nearest to `window_mm` along depth.

    Errors: `OptionError` for a length that is not finite or not above 0.
    """
    if not (math.isfinite(window_mm) and window_mm > 0):
        raise OptionError(f"strain window: got {window_mm} mm, expected a finite length above 0")
    return max(2 * round((window_mm / scan.axial_pitch_mm - 1) / 2) + 1, 3)


def least_squares_taps(window_samples: int) -> NDArray[np.float64]:
    """Weights (window_samples,) k / Σ k² for k = -h … h, whose correlation with the samples is the least-squares slope.

    The last tap meets the deepest sample. Errors: `ValueError` for a window that is even or below 3.
    """
    if window_samples < 3 or window_samples % 2 == 0:
        raise ValueError(f"window_samples: got {window_samples}, expected an odd number from 3 up")
    k = np.arange(window_samples) - window_samples // 2
    taps: NDArray[np.float64] = k / np.sum(k**2)
    return taps


def axial_strain(displacement_axial: NDArray[Any], window_samples: int) -> NDArray[np.float32]:
    """Axial strain ε = -∂d/∂r of an axial displacement (…, N, M) in samples: a fraction, compression positive, float32.

    Each sample takes the slope of the line fitted to the `window_samples` about it; within half a window of an end, to
    the whole window at that end (a valid correlation with the taps, its first and last values repeated). A window
    longer than the image shrinks to it. Displacements that are not finite are left out of the fit; where fewer than
    half of a window remain the strain is NaN. Errors: `ValueError` for a window that is even or below 3, or fewer than
    2 rows.
    """
    rows = displacement_axial.shape[-2]
    if window_samples < 3 or window_samples % 2 == 0:
        raise ValueError(f"window_samples: got {window_samples}, expected an odd number from 3 up")
    if rows < 2:
        raise ValueError(f"displacement: got {rows} rows, expected at least 2 for a slope")
    window = min(window_samples, rows)
    d = displacement_axial.astype(np.float64)
    finite = np.isfinite(d)
    if finite.all():
        finite = finite[..., :1]  # the same sums for every line
    else:
        d = np.where(finite, d, 0)

    weight = finite.astype(np.float64)
    r = np.broadcast_to((np.arange(rows) - (rows - 1) / 2)[:, np.newaxis], weight.shape[-2:])
    count, sum_r, sum_rr = (_sums(weight * r**power, window) for power in range(3))
    sum_d, sum_rd = _sums(d, window), _sums(d * r[..., :1], window)
    spread = count * sum_rr - sum_r**2
    enough = (count >= max(window / 2, 2)) & (spread > 0.5)
    slope = (count * sum_rd - sum_r * sum_d) / np.where(enough, spread, np.nan)

    start = np.clip(np.arange(rows) - window // 2, 0, rows - window)
    return (-slope[..., start, :]).astype(np.float32)


def _sums(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """(…, N, M) → (…, N - window + 1, M): sums over each whole window along depth."""
    total = np.cumsum(values, axis=-2)
    sums = total[..., window - 1 :, :].copy()
    sums[..., 1:, :] -= total[..., :-window, :]
    return sums
