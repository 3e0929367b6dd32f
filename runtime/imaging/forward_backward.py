"""The consistency of the estimates of a pair in both directions: the distance by which a pixel misses on its return.

    e(r) = d_f(r) + d_b(r + d_f(r))        0 where backward is the inverse of forward

Compares two estimates, without truth; knows neither engines nor frames. Finds pixels that lost their way, but no small
errors: errors common to both directions are invisible, and on simulated pairs of .5 to 3 % the two agree to a tenth of
the error of each. Invariant: every figure is finite, or None where there is no pixel for it.

Optical flow calls a pixel occluded unless |e|² < .01 (|d_f|² + |d_b|²) + .5 (Sundaram, Brox and Keutzer, ECCV 2010;
Meister, Hur and Roth, UnFlow, AAAI 2018). That limit grows with the motion: at a displacement of 20 samples it lets
pass 2.9. Strain is the slope of the displacement, whatever its size, so the limit here is fixed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.quality import READABLE_QUALITY
from usert.warp import warp

from .estimate import Estimate

LIMIT_SAMPLES = 0.25
"""|Axial e| of a pixel that agrees: at four to nine samples a wavelength, 3 to 6 % of one."""

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency:
    """Figures over the pixels that are compared; each is None where there are none."""

    compared_share: float
    """Share of the pixels that are readable, and land where the backward estimate is readable."""
    axial_rms_samples: float | None
    axial_median_samples: float | None
    """Median of |axial e|."""
    axial_p95_samples: float | None
    lateral_rms_lines: float | None
    agreeing_share: float | None
    """Share of the compared pixels with |axial e| below `limit_samples`."""
    limit_samples: float
    strain_rms_percent: float | None
    """Of ε_f + ε_b / (1 - ε_b), ε_b at r + d_f(r): for motion along depth alone, 0 where d_b undoes d_f."""


def consistency(
    forward: Estimate,
    backward: Estimate,
    *,
    readable_quality: float = READABLE_QUALITY,
    limit_samples: float = LIMIT_SAMPLES,
) -> Consistency:
    """Compare `forward`, from the reference to the current frame, with `backward`, from the current to the reference.

    Pixels that leave the frame, or where either estimate is not finite, are left out.
    """
    there = forward.displacement
    axial, lateral = there_and_back(there, backward.displacement)
    quality = _at(backward.quality, there).astype(np.float32)  # in which the limit is that of an image
    known = np.isfinite(axial) & np.isfinite(lateral)
    known &= (forward.quality >= readable_quality) & (quality >= readable_quality)
    off = np.abs(axial[known])
    return Consistency(
        compared_share=float(known.mean()),
        axial_rms_samples=_rms(off),
        axial_median_samples=_figure(np.median(off)) if off.size else None,
        axial_p95_samples=_figure(np.quantile(off, 0.95)) if off.size else None,
        lateral_rms_lines=_rms(lateral[known]),
        agreeing_share=float(np.mean(off < limit_samples)) if off.size else None,
        limit_samples=limit_samples,
        strain_rms_percent=_rms(100 * _strain_apart(forward, backward)[known]),
    )


def there_and_back(forward: NDArray[Any], backward: NDArray[Any]) -> _Array:
    """Miss e (2, N, M) of two displacements (2, N, M), bilinear; NaN outside, and where either is not finite."""
    if forward.shape != backward.shape:
        raise ValueError(
            f"displacements: got {forward.shape} and {backward.shape}, expected one shape (2, N, M)"
        )
    missed = np.stack([_finite(component) for component in forward])
    for component, back in zip(missed, backward, strict=True):
        component += _at(back, forward)
    return missed


def _strain_apart(forward: Estimate, backward: Estimate) -> _Array:
    """Where d_b undoes d_f, (1 - ε_b) (1 - ε_f) = 1. NaN outside, and where the backward estimate folds."""
    back = _at(backward.strain, forward.displacement)
    stretch = np.where(back < 1, 1 - back, np.nan)
    return _finite(forward.strain) + back / stretch


def _at(image: NDArray[Any], displacement: NDArray[Any]) -> _Array:
    """`image` (N, M) at r + d(r), NaN where that is outside or not finite."""
    moved, inside = warp(_finite(image), displacement, order=1)
    moved[~inside] = np.nan
    return moved


def _finite(values: NDArray[Any]) -> _Array:
    """A copy, with NaN in the place of infinities."""
    return np.where(np.isfinite(values), values, np.nan).astype(np.float64)


def _rms(values: _Array) -> float | None:
    """Over the values that are numbers."""
    values = values[np.isfinite(values)]
    return _figure(np.sqrt(np.mean(values**2))) if values.size else None


def _figure(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
