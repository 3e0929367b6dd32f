"""The quality of an image: the share that may be read, whether there is motion in it, and its warnings.

The network gives a smooth picture of anything, of a still probe as well, so stillness is not judged by strain: the
axial displacement is fitted by a plane, and the compression that the plane shows counts only as far as it exceeds what
the plane leaves over (the blobs of a still probe). Invariant: every figure but `mean_strain` and `mean_quality` is
finite, whatever the estimate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from usert.errors import OptionError, expect
from usert.quality import READABLE_QUALITY, readable_mean

from .estimate import Estimate

ImageWarning = Literal[
    "not_rf", "low_quality", "strain_low", "strain_high", "strain_untrained", "precompressed"
]
"""`not_rf`: the first frames of the session were not RF of the frequencies told (`usert.signal_check`). `low_quality`:
readable, but not by much. `strain_low`, `strain_high`: outside the useful range: press more, or less.
`strain_untrained`: outside what the network was trained for. `precompressed`: the probe presses before it palpates;
tissue under load is stiffer, and fat can pass for a tumour (Barr and Zhang, J. Ultrasound Med. 31 (2012) 895-902)."""

_LOOKED_AT = (128, 128)
"""Samples and lines that means are taken over, at most twice as many."""
_FITTED = (64, 32)
"""Samples and lines that the plane is fitted to."""
_SINGULAR = 1e-6
"""Of the determinant over the squared trace: below it the points lie in a line."""
_LEAST_FITTED = 0.05
"""Share of them that must be readable for a plane to mean anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageQualityRule:
    """Limits of an image's quality; the defaults are measured, in `benchmarks/live_logic.py`."""

    readable_quality: float = READABLE_QUALITY
    """Quality below which a pixel must not be read: there errors of strain above a third of it become the rule."""
    useful_strain: tuple[float, float] = (0.003, 0.015)
    """Ends of the compression bar's useful part, as in `LagRule`."""
    trained_strain: tuple[float, float] | None = None
    """Range of |mean strain| that the network was trained for, fractions; None if unknown."""
    scatter: float = 4.0
    """Factor of the plane's residual that is subtracted from its compression."""
    still_strain: float = 5e-4
    """Evident strain below which the probe is still: a resting hand gives up to .0004, a slow press .0008."""
    fair_score: float = 0.6
    """Frame score below which there is a warning of quality."""
    precompression: float = 0.1
    """Compression beyond the least of the session from which there is a warning."""

    def __post_init__(self) -> None:
        for name in ("readable_quality", "fair_score"):
            value = getattr(self, name)
            expect(0 < value <= 1, name, f"{value:g}", "more than 0, at most 1")
        for name in ("useful_strain", "trained_strain"):
            value = getattr(self, name)
            if value is not None and not 0 <= value[0] < value[1] < math.inf:
                raise OptionError(f"{name}: got {value[0]:g} to {value[1]:g}, expected 0 <= low < high")
        for name in ("scatter", "still_strain", "precompression"):
            value = getattr(self, name)
            expect(0 <= value < math.inf, name, f"{value:g}", "0 or more")

    def readable(self, quality: NDArray[Any]) -> NDArray[np.bool_]:
        """Mask of the pixels of `quality` (…, N, M) that may be read; NaN may not."""
        return np.asarray(quality >= self.readable_quality)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageQuality:
    """The figures of one image."""

    score: float
    """Mean over all pixels of the quality of those that may be read: 1, all are and match; 0, none is."""
    readable_share: float
    """Share of the pixels that may be read."""
    readable_strain: float
    """Mean strain of the readable pixels that are looked at, compression positive; 0 where there are none."""
    mean_strain: float
    """The same over whole rows, at most twice as many as are looked at; not finite where one of these rows is not."""
    mean_quality: float
    """Mean quality of those rows; not finite where one of them is not."""
    evident_strain: float
    """|Compression| that the displacement as a whole shows beyond its scatter, a fraction, 0 or more."""
    moving: bool
    """Whether there is motion."""
    compression: float
    """Value of the bar, -1 to 1: readable strain over the top of the useful range, release negative; 0 without motion.
    """
    warnings: tuple[ImageWarning, ...]


def assess(estimate: Estimate, rule: ImageQualityRule, *, precompression: float = 0.0) -> ImageQuality:
    """The figures of an image; `precompression` is that of `LagControl`, a fraction."""
    mean_strain, mean_quality = _row_means(estimate, rule)
    rows, lines = _strides(estimate.quality.shape, _LOOKED_AT)
    quality, strain = (
        np.ascontiguousarray(array[::rows, ::lines]).ravel() for array in (estimate.quality, estimate.strain)
    )
    readable = rule.readable(quality) & np.isfinite(strain)
    count = int(np.count_nonzero(readable))
    share = count / quality.size
    score = _sum(quality, readable) / quality.size
    mean = _sum(strain, readable) / count if count else 0.0
    evident = _evident_strain(estimate, rule)
    moving = evident >= rule.still_strain
    return ImageQuality(
        score=min(score, 1.0),
        readable_share=share,
        readable_strain=mean,
        mean_strain=mean_strain,
        mean_quality=mean_quality,
        evident_strain=evident,
        moving=moving,
        compression=max(-1.0, min(1.0, mean / rule.useful_strain[1])) if moving else 0.0,
        warnings=_warnings(rule, score, mean, moving, precompression),
    )


def _warnings(
    rule: ImageQualityRule, score: float, mean: float, moving: bool, precompression: float
) -> tuple[ImageWarning, ...]:
    size = abs(mean)
    trained = rule.trained_strain
    found: dict[ImageWarning, bool] = {
        "low_quality": score < rule.fair_score,
        "strain_low": moving and size < rule.useful_strain[0],
        "strain_high": moving and size > rule.useful_strain[1],
        "strain_untrained": moving and trained is not None and not trained[0] <= size <= trained[1],
        "precompressed": precompression > rule.precompression,
    }
    return tuple(name for name, holds in found.items() if holds)


def _evident_strain(estimate: Estimate, rule: ImageQualityRule) -> float:
    """max(0, |b| - scatter · σ / N): b the slope of the plane a + b·row + c·line, σ its rms residual in samples."""
    size = estimate.quality.shape
    rows, lines = _strides(size, _FITTED)
    axial = estimate.displacement[0, ::rows, ::lines]
    use = rule.readable(estimate.quality[::rows, ::lines]) & np.isfinite(axial)
    at = np.nonzero(use)
    if len(at[0]) < max(_LEAST_FITTED * use.size, 3):
        return 0.0
    points = np.stack([*at, axial[at]]).astype(np.float64)
    points -= points.mean(axis=1, keepdims=True)
    points[:2] *= [[rows / size[0]], [lines / size[1]]]
    spread = points @ points.T / points.shape[1]
    slopes = _solved(spread)
    residual = math.sqrt(max(spread[2, 2] - float(slopes @ spread[:2, 2]), 0.0))
    return max(0.0, abs(float(slopes[0])) - rule.scatter * residual) / int(size[0])


def _solved(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """The plane's slopes, the least ones where all points lie in a line; written out, as LAPACK is slow to wake up."""
    (a, b, p), (_, c, q), _ = spread.tolist()
    determinant = a * c - b * b
    if determinant > _SINGULAR * (a + c) ** 2:
        return np.array([(c * p - b * q) / determinant, (a * q - b * p) / determinant])
    slopes: NDArray[np.float64] = (
        np.linalg.pinv(spread[:2, :2], rcond=_SINGULAR, hermitian=True) @ spread[:2, 2]
    )
    return slopes


def _row_means(estimate: Estimate, rule: ImageQualityRule) -> tuple[float, float]:
    """Of strain where it may be read, 0 where nothing may, and of quality.

    Over whole rows, at most twice as many as are looked at: reading memory is what costs. Not finite where one of these
    rows is not; what is fitted along depth over more rows than lie between them has no other.
    """
    rows, _ = _strides(estimate.quality.shape, _LOOKED_AT)
    strain, quality = estimate.strain[::rows], estimate.quality[::rows]
    whole = _mean(strain)
    if not math.isfinite(whole):
        return whole, _mean(quality)
    mean, share = readable_mean(strain, quality, rule.readable_quality)
    return (mean if share else 0.0), _mean(quality)


def _mean(image: NDArray[Any]) -> float:
    return float(np.einsum("ij->i", image).sum(dtype=np.float64)) / image.size


def _sum(values: NDArray[Any], where: NDArray[np.bool_]) -> float:
    return float(np.where(where, values, 0).sum(dtype=np.float64))


def _strides(shape: tuple[int, ...], most: tuple[int, int]) -> tuple[int, int]:
    return max(1, shape[0] // most[0]), max(1, shape[1] // most[1])
