"""Measures of a strain image: contrast, smoothness, error against truth, and correlation of the frames after the warp.

Knows arrays only. CNR and SR are Eq. 8 of Tehrani, Mirzaei and Rivaz, "Semi-supervised training of optical flow
convolutional neural networks in ultrasound elastography" (MICCAI 2020). The paper calls its σ variances and squares
them; here they are standard deviations, as in the CNR of elastography since Varghese and Ophir (1998). Invariant: NaN
in a window gives NaN; no value is left out in silence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .errors import OptionError
from .warp import warp

READABLE_QUALITY = 0.7
"""Least quality at which a pixel may be read: one threshold for pictures, means and servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A rectangle of an image in samples and lines, half-open. Errors: `OptionError` for an empty or negative one."""

    rows: tuple[int, int]
    """(first, one past the last) axial sample."""
    lines: tuple[int, int]
    """(first, one past the last) scan line."""

    def __post_init__(self) -> None:
        for name, (first, end) in (("rows", self.rows), ("lines", self.lines)):
            if first < 0 or end <= first:
                raise OptionError(f"window {self}: {name} {first}:{end}, expected a:b with 0 <= a < b")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse "rows,lines", such as "1230:1450,170:212". Errors: `OptionError` for any other text."""
        numbers = [part.split(":") for part in text.split(",")]
        if [len(pair) for pair in numbers] != [2, 2] or not all(
            n.strip().isdecimal() for pair in numbers for n in pair
        ):
            raise OptionError(f"window: got {text!r}, expected rows,lines such as 1230:1450,170:212")
        (a, b), (c, d) = ((int(first), int(end)) for first, end in numbers)
        return cls(rows=(a, b), lines=(c, d))

    def of(self, image: NDArray[Any]) -> NDArray[Any]:
        """The part of `image` (…, N, M) in this window, a view.

        Errors: `OptionError` where the window is not within the image.
        """
        rows, lines = image.shape[-2:]
        if self.rows[1] > rows or self.lines[1] > lines:
            raise OptionError(f"window {self}: outside the image, expected within 0:{rows},0:{lines}")
        return image[..., slice(*self.rows), slice(*self.lines)]

    def __str__(self) -> str:
        return "{}:{},{}:{}".format(*self.rows, *self.lines)


def cnr(strain: NDArray[Any], target: Window, background: Window) -> float:
    """Contrast to noise ratio √(2 (s̄_b - s̄_t)² / (σ_b² + σ_t²)) of `strain` (N, M); infinite where both are constant.

    Errors: `OptionError` for a window outside the image.
    """
    t, b = (window.of(strain).astype(np.float64) for window in (target, background))
    return _ratio(np.sqrt(2) * abs(b.mean() - t.mean()), float(np.sqrt(b.var() + t.var())))


def strain_ratio(strain: NDArray[Any], target: Window, background: Window) -> float:
    """Strain ratio SR = s̄_t / s̄_b of `strain` (N, M), below 1 for a stiff target.

    Errors: `OptionError` for a window outside the image.
    """
    t, b = (window.of(strain).astype(np.float64) for window in (target, background))
    return _ratio(t.mean(), b.mean())


def snre(strain: NDArray[Any], window: Window) -> float:
    """Elastographic signal to noise ratio, |mean| / standard deviation of `strain` (N, M) in a window of one stiffness.

    Errors: `OptionError` for a window outside the image.
    """
    values = window.of(strain).astype(np.float64)
    return _ratio(abs(values.mean()), values.std())


def rmse(estimate: NDArray[Any], truth: NDArray[Any]) -> float:
    """Root mean square of `estimate` - `truth`, in their unit. Errors: `ValueError` for arrays of different shape."""
    if estimate.shape != truth.shape:
        raise ValueError(f"estimate {estimate.shape} and truth {truth.shape}: expected one shape")
    return float(np.sqrt(np.mean((estimate.astype(np.float64) - truth.astype(np.float64)) ** 2)))


def nrmse(estimate: NDArray[Any], truth: NDArray[Any]) -> float:
    """Normalised RMSE, ‖estimate - truth‖ / ‖truth‖, a fraction. Errors: `ValueError` for arrays of different shape."""
    return _ratio(rmse(estimate, truth), rmse(truth, np.zeros_like(truth)))


def local_ncc(
    a: NDArray[Any],
    b: NDArray[Any],
    window: tuple[int, int] = (65, 5),
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Local zero-mean normalised cross-correlation of two images (N, M): float32 (N, M), from -1 to 1.

    `window` is (samples, lines), both odd, centred on each sample and cut at the borders. Samples that are not `valid`
    (N, M), or not finite, are left out; where fewer than two remain, or either image is constant, the result is 0.
    Errors: `ValueError` for images of different shape, or an even window.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"images {a.shape} and {b.shape}: expected one shape (N, M)")
    if min(window) < 1 or not all(size % 2 for size in window):
        raise ValueError(f"window: got {window}, expected two odd numbers")
    use = np.isfinite(a) & np.isfinite(b)
    if valid is not None:
        use &= valid
    x, y = _centred(a, use), _centred(b, use)
    n = np.maximum(_box(use.astype(np.float64), window), 1)
    mean_x, mean_y = _box(x, window) / n, _box(y, window) / n
    var_x = _box(x * x, window) / n - mean_x**2
    var_y = _box(y * y, window) / n - mean_y**2
    cov = _box(x * y, window) / n - mean_x * mean_y
    # Below what rounding leaves of the sums, a window is constant. Both images have unit power here.
    tiny = 64 * np.finfo(np.float64).eps * a.shape[0]
    constant = (var_x <= tiny) | (var_y <= tiny)
    scale = np.sqrt(np.where(constant, 1, var_x) * np.where(constant, 1, var_y))
    return np.where(constant, 0, np.clip(cov / scale, -1, 1)).astype(np.float32)


def warped_ncc(
    pre: NDArray[Any], post: NDArray[Any], displacement: NDArray[Any], window: tuple[int, int] = (65, 5)
) -> NDArray[np.float32]:
    """Local NCC of `pre` (N, M) with `post` moved back by `displacement` (2, N, M): float32 (N, M), from -1 to 1.

    It is 0 where the displacement leads outside the frame: farther than half a sample or half a line, since a pixel
    reaches so far about its centre, and hundredths of a line beyond the outermost one say nothing. `window` as in
    `local_ncc`. Errors: `ValueError` as in `local_ncc` and `usert.warp.warp`.
    """
    onto = _onto_the_border(displacement) if displacement.shape == (2, *post.shape) else displacement
    moved, valid = warp(post, onto)
    ncc = local_ncc(pre, moved, window, valid)
    ncc[~valid] = 0
    return ncc


def _onto_the_border(displacement: NDArray[Any]) -> NDArray[np.float64]:
    """A displacement (2, N, M) that ends on the border where it led up to half a sample or line beyond it."""
    onto = np.array(displacement, np.float64)
    for axis, size in enumerate(onto.shape[1:]):
        at = np.arange(size).reshape((-1, 1) if axis == 0 else (1, -1))
        end = at + onto[axis]
        beside = (end >= -0.5) & (end <= size - 0.5)
        onto[axis] = np.where(beside, np.clip(end, 0, size - 1) - at, onto[axis])
    return onto


def _ratio(above: float, below: float) -> float:
    if below == 0:
        return float("nan") if above == 0 or np.isnan(above) else float(np.copysign(np.inf, above))
    return float(above / below)


def _centred(image: NDArray[Any], use: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Without its mean, at unit power, 0 where not used: keeps the running sums accurate at any amplitude."""
    if not use.any():
        return np.zeros(image.shape)
    values = np.where(use, image, 0).astype(np.float64)
    peak = np.abs(values).max()
    values = np.where(use, values / (peak or 1), 0)
    values = np.where(use, values - values.sum() / use.sum(), 0)
    power = np.sqrt((values**2).sum() / use.sum())
    if power <= 64 * np.finfo(np.float64).eps:  # a constant image, up to rounding
        return np.zeros(image.shape)
    unit: NDArray[np.float64] = values / power
    return unit


def _box(values: NDArray[np.float64], window: tuple[int, int]) -> NDArray[np.float64]:
    """Sums over the window about each sample, cut at the borders, by running sums."""
    for axis, size in enumerate(window):
        length = values.shape[axis]
        total = np.concatenate([np.zeros_like(values.take([0], axis)), np.cumsum(values, axis)], axis)
        at = np.arange(length)
        upper = total.take(np.minimum(at + size // 2 + 1, length), axis)
        values = upper - total.take(np.maximum(at - size // 2, 0), axis)
    return values


def readable_mean(
    strain: NDArray[Any], quality: NDArray[Any], least: float = READABLE_QUALITY
) -> tuple[float, float]:
    """Mean of `strain` over the readable pixels, in its unit, and their share of the image, 0 to 1.

    A pixel is readable where its strain is finite and its `quality`, of the same shape, is `least` or more. Without
    any, the mean is NaN.
    """
    readable = (quality >= least) & np.isfinite(strain)
    count = int(np.count_nonzero(readable))
    if not count:
        return math.nan, 0.0
    return float(strain.sum(where=readable, dtype=np.float64)) / count, count / quality.size
