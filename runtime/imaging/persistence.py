"""Averaging strain images over time without blurring what moves: the past is carried along with the tissue.

Images of pairs differ in how much the tissue was compressed, and in whether it was: a release is the negative of a
press. So what is averaged is each image over its own mean strain, of either sign, weighted by precision, as Lindop and
others do it ("An intelligent interface for freehand strain imaging", Ultrasound in Med. & Biol. 34 (2008)):

    n = Σ βʲ wⱼ nⱼ / Σ βʲ wⱼ,   w = q²/(1 - q² + c) · k²/(k² + k₀²)    q quality, k mean strain, j images ago

The first factor is that of correlation noise (Walker and Trahey, IEEE Trans. UFFC 42 (1995) 301-308), the second that
of noise which in part does not shrink with the strain. Shown is k n: a strain image of the newest pair again. With
equal weights noise falls to √((1 - β)/(1 + β)). Invariant: with β = 0 an image comes back as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.errors import OptionError, expect
from usert.quality import READABLE_QUALITY

from .estimate import Estimate

_ROWS = 128
"""Samples along depth that the past is kept at, at most twice as many; the strain window is far longer than a step."""
_ROUGHNESS = 0.04
"""c: quality beyond .98 says no more (measured on consecutive frames of a volunteer's arm)."""
_FLOOR_STRAIN = 0.012
"""k₀: below it an image of half the strain counts a quarter, well above it as much (simulated: what is worst about
little strain, contrast that was smoothed away, would else stay in the average)."""
_FURTHEST = 8.0
"""Motion since the last image, over that of the newest pair, beyond which the past cannot be carried along."""
_LEAST_COMMON = 0.05
"""Share of the pixels that past and present must both know, to be brought to one scale."""
_FORGOTTEN = 1e-4
"""Weight of the past in a pixel below which it is nothing: a readable pixel has .001 or more."""

_Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistenceRule:
    """Weight of the past in the average, and the quality that counts."""

    weight: float = 0.6
    """β, of the past: 0, no averaging, to below 1. 0.6 halves the noise."""
    readable_quality: float = READABLE_QUALITY
    """Quality below which a pixel adds nothing; as in `ImageQualityRule`."""

    def __post_init__(self) -> None:
        expect(0 <= self.weight < 1, "persistence", f"{self.weight:g}", "0 to below 1")
        if not 0 < self.readable_quality <= 1:
            raise OptionError(
                f"readable quality: got {self.readable_quality:g}, expected more than 0, at most 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Averaging:
    """The share of past images in an average."""

    weight: float
    """β."""
    images: int
    """Number of images in the average."""
    past_share: float
    """Share of the past in the image, mean over its pixels, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Persisted:
    """An averaged image."""

    strain: _Array
    """(N, M): on the grid and at the scale and sign of the newest pair. Where neither past nor present may be read, as
    the newest has it; its quality is still that of the newest pair."""
    averaging: Averaging


class Persistence:
    """The running average of a session's images: `add` each good one in turn."""

    def __init__(self, rule: PersistenceRule | None = None) -> None:
        self.rule = rule or PersistenceRule()
        self._past: NDArray[np.complex64] | None = None
        """Σ βʲ wⱼ nⱼ + i Σ βʲ wⱼ at every `step`-th row: one array, so that both are carried along in one go."""
        self._images = 0

    def add(self, estimate: Estimate, *, mean_strain: float, share: float) -> Persisted:
        """Average in an image whose mean over readable pixels is `mean_strain`.

        `share` is how far the tissue moved between the references of the last image and of this one, over the
        displacement of `estimate` (`Course.share`); where it is not finite, or out of bounds, the past is forgotten.
        """
        if self.rule.weight == 0:
            return Persisted(
                strain=estimate.strain, averaging=Averaging(weight=0.0, images=1, past_share=0.0)
            )
        step = max(1, estimate.strain.shape[0] // _ROWS)
        strain = estimate.strain[::step]
        present = self._precision(estimate.quality[::step], strain)
        values = np.where(present > 0, strain, np.float32(0))
        past = self._carried(estimate, step, share)
        scale = mean_strain if past is None else _scale(past, present, values)
        if past is None or scale is None:
            past, scale, self._images = np.zeros(strain.shape, np.complex64), mean_strain, 0
        gain = scale / (scale**2 + _FLOOR_STRAIN**2) if math.isfinite(scale) else 0.0
        before = np.float32(self.rule.weight) * past
        before *= before.imag > _FORGOTTEN
        self._past = before + present * (np.float32(gain) * values + np.complex64(1j * gain * scale))
        self._images += 1
        shown = np.where(
            self._past.imag > 0, np.float32(scale) * _over(self._past.real, self._past.imag), strain
        )
        return Persisted(
            strain=_at_all_rows(shown, estimate.strain.shape[0], step),
            averaging=Averaging(
                weight=self.rule.weight,
                images=self._images,
                past_share=float(_over(before.imag, self._past.imag).mean()),
            ),
        )

    def _precision(self, quality: NDArray[Any], strain: NDArray[Any]) -> _Array:
        power = np.minimum(quality, 1).astype(np.float32) ** 2
        readable = (quality >= self.rule.readable_quality) & np.isfinite(strain)
        return np.where(readable, power / (1 - power + np.float32(_ROUGHNESS)), np.float32(0))

    def _carried(self, estimate: Estimate, step: int, share: float) -> NDArray[np.complex64] | None:
        """The past at the places that the tissue of the reference frame had at the last image."""
        past = self._past
        displacement = estimate.displacement[:, ::step]
        if past is None or past.shape != displacement.shape[1:] or not abs(share) <= _FURTHEST:
            return None
        moved = np.float32(-share) * displacement
        moved[0] /= step
        return _sampled(past, moved)


def _over(values: _Array, weights: _Array) -> _Array:
    """The quotient, 0 where there is no weight."""
    return np.divide(values, weights, out=np.zeros(weights.shape, np.float32), where=weights > 0)


def _scale(past: NDArray[np.complex64], present: _Array, values: _Array) -> float | None:
    """What the past is to be multiplied by, to have the present's mean over the pixels that both know."""
    common = past.imag * present
    of_past = float(np.sum(common * _over(past.real, past.imag)))
    if np.count_nonzero(common) < _LEAST_COMMON * common.size or of_past <= 0:
        return None
    return float(np.sum(common * values)) / of_past


def _sampled(image: NDArray[np.complex64], moved: _Array) -> NDArray[np.complex64]:
    """`image` (N, M) at r + moved(r), (2, N, M), bilinear; 0 outside. One look-up serves sums and weights alike."""
    rows, lines = image.shape
    axial, lateral = moved[0] + np.arange(rows, dtype=np.float32)[:, np.newaxis], moved[1]
    lateral = lateral + np.arange(lines, dtype=np.float32)
    row, line = (np.fmin(np.fmax(at, 0), np.float32(n - 1)) for at, n in ((axial, rows), (lateral, lines)))
    inside = (np.abs(row - axial) < 0.5) & (np.abs(line - lateral) < 0.5)
    top, left = row.astype(np.intp), line.astype(np.intp)
    down, right = row - top.astype(np.float32), line - left.astype(np.float32)
    first, flat = top * lines + left, image.ravel()

    def between(at: NDArray[np.intp]) -> NDArray[np.complex64]:
        value, beside = flat.take(at, mode="clip"), flat.take(at + 1, mode="clip")
        beside -= value
        beside *= right
        value += beside
        return value

    upper, lower = between(first), between(first + lines)
    lower -= upper
    lower *= down
    upper += lower
    upper *= inside
    return upper


def _at_all_rows(image: _Array, rows: int, step: int) -> _Array:
    """Every `step`-th row → all `rows`, by straight lines between, the last repeated."""
    if step == 1:
        return image
    at = np.arange(rows)
    upper = at // step
    lower = np.minimum(upper + 1, len(image) - 1)
    part = (at % step / step).astype(np.float32)[:, np.newaxis]
    return image[upper] * (1 - part) + image[lower] * part
