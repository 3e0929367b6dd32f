"""What the phase of two frames says of the displacement between them: a measurement, and how far to trust it.

The second frame is moved by the displacement known so far; what is still missing turns the phase of its echoes
against those of the first. Correlation of the complex signals in a small window gives that phase, and divided
by the local frequency it is axial displacement (the autocorrelation method: C. Kasai et al., IEEE Trans.
Sonics Ultrason. 32(3), 1985; T. Loupas et al., IEEE Trans. Ultrason. Ferroelectr. Freq. Control 42(4), 1995).
Across lines there is no carrier; there the gradient of the complex signal serves, as in optical flow.

The signal is moved in baseband, about its mean frequency, where a linear interpolation is good to one part in a
hundred; the carrier is put back exactly. Measurements lie on a grid of one point for every `BLOCK` samples.
Weights are inverse variances up to a factor: the phase of a window of correlation ρ has a variance in
proportion to (1 - ρ²) / ρ² (the Cramér-Rao bound; W. F. Walker and G. E. Trahey, same Trans. 42(2), 1995).

Knows nothing of smoothness. Invariant: identical frames at no displacement measure none.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from .grids import block_mean
from .warp import warp

BLOCK = 8
"""Samples along depth of one point of the grid; a line across."""
WINDOW = (5, 5)
"""Points of the grid over which the complex correlation is formed: 40 samples, 5 lines."""
LEAST_FREQUENCY = 0.2
"""Radians a sample below which a frequency is not believed, since it divides."""
FURTHEST_LATERAL = 0.5
"""Lines: beyond it the gradient says nothing."""
STEEPEST = 1.0
"""Square of the relative change from line to line, radians, that is believed: beside an edge it has no bound."""
SMALL_NOISE = 0.02
"""1 - ρ² of a window that is trusted most, so that one window cannot outvote all."""
LEAST_WEIGHT = 1e-3
"""What is left to a point without echoes, so that the grid stays in one piece."""
QUIET = 1e-7
"""Added to products of powers, of an echo level of 1: what is quieter does not count. (The ONNX exporter drops the
addition of anything below 1e-8.)"""


ARCTANGENT = (
    1.0,
    -0.3333314528,
    0.1999355085,
    -0.1420889944,
    0.1065626393,
    -0.0752896400,
    0.0429096138,
    -0.0161657367,
    0.0028662257,
)
"""Of the odd powers of a slope up to 1."""


class Measurement(NamedTuple):
    """Displacement (B, 2, K, M), axial in samples and lateral in lines, and its weight, alike; K = N / BLOCK."""

    displacement: Tensor
    weight: Tensor


class Signals(NamedTuple):
    """A pair in baseband: two (B, 2, N, M), real and imaginary part; `frequency` (B, 1, 1, 1) in rad a sample."""

    first: Tensor
    second: Tensor
    frequency: Tensor


def baseband(first: Tensor, second: Tensor) -> Signals:
    """Both frames (B, 3, N, M) of `Channels` about the mean frequency of the pair."""
    a, b = first[:, 0::2].float(), second[:, 0::2].float()
    lag = (_lag_one(a) + _lag_one(b)).sum(dim=(2, 3), keepdim=True)
    frequency = _angle(lag)
    at = torch.arange(a.shape[2], device=a.device, dtype=torch.float32)[:, None]
    down = _turn(-frequency * at)
    return Signals(_times(a, down), _times(b, down), frequency)


def measure(signals: Signals, displacement: Tensor) -> Measurement:
    """The displacement that the frames show, given one (B, 2, N, M) that is right to half a wavelength."""
    first, frequency = signals.first, signals.frequency
    moved = warp(signals.second, torch.cat((displacement[:, 1:2], displacement[:, 0:1]), dim=1))
    moved = _times(moved, _turn(frequency * displacement[:, 0:1]))
    slope_first, slope_moved = _across(first), _across(moved)
    products = torch.cat(
        (
            _times(first, moved, conjugate=True),
            _lag_one(first) + _lag_one(moved),
            _times(first, slope_moved, conjugate=True) - _times(slope_first, moved, conjugate=True),
            _power(first),
            _power(moved),
            (_power(slope_first) + _power(slope_moved)) / 2,
        ),
        dim=1,
    )
    sums = block_mean(products, BLOCK)
    sums = functional.avg_pool2d(sums, WINDOW, 1, (WINDOW[0] // 2, WINDOW[1] // 2))
    correlation, lag, asymmetry = sums[:, 0:2], sums[:, 2:4], sums[:, 4:6]
    energy = sums[:, 6:7], sums[:, 7:8]
    steepness = sums[:, 8:9]

    local = (frequency + _angle(lag)).clamp_min(LEAST_FREQUENCY)
    axial = _angle(correlation) / local
    size = torch.sqrt(_power(correlation) + QUIET)
    # with its phase taken out, the moved frame lags the first one by the lateral displacement alone
    aligned = (asymmetry * correlation).sum(dim=1, keepdim=True) / size
    lateral = (aligned / (2 * steepness + QUIET)).clamp(-FURTHEST_LATERAL, FURTHEST_LATERAL)

    coherence = (_power(correlation) / (energy[0] * energy[1] + QUIET)).clamp_max(1.0)
    weight = coherence / (1 - coherence + SMALL_NOISE)
    relative = (2 * steepness / (energy[0] + energy[1] + QUIET)).clamp_max(STEEPEST)
    known = block_mean(displacement, BLOCK)
    return Measurement(
        known + torch.cat((axial, lateral), dim=1),
        torch.cat((weight, weight * relative), dim=1).clamp_min(LEAST_WEIGHT),
    )


def _lag_one(signal: Tensor) -> Tensor:
    """(B, 2, N, M): each sample times the conjugate of the one above; the last row repeats nothing, it is 0."""
    return functional.pad(_times(signal[:, :, 1:], signal[:, :, :-1], conjugate=True), (0, 0, 0, 1))


def _across(signal: Tensor) -> Tensor:
    """(B, C, N, M): central difference from line to line, 0 on the outermost lines."""
    return functional.pad((signal[:, :, :, 2:] - signal[:, :, :, :-2]) / 2, (1, 1))


def _times(a: Tensor, b: Tensor, *, conjugate: bool = False) -> Tensor:
    """a · b, or a · b*: complex numbers as two channels."""
    sign = -1.0 if conjugate else 1.0
    (a_re, a_im), (b_re, b_im) = a.chunk(2, dim=1), b.chunk(2, dim=1)
    return torch.cat((a_re * b_re - sign * a_im * b_im, a_im * b_re + sign * a_re * b_im), dim=1)


def _turn(angle: Tensor) -> Tensor:
    """(B, 1, …) → (B, 2, …): cos and sin."""
    return torch.cat((torch.cos(angle), torch.sin(angle)), dim=1)


def _power(signal: Tensor) -> Tensor:
    return signal.square().sum(dim=1, keepdim=True)


def _angle(signal: Tensor) -> Tensor:
    """Phase, to 1e-6 radians; 0 for a signal of 0.

    The arctangent is a polynomial (M. Abramowitz, I. A. Stegun, "Handbook of Mathematical Functions", 4.4.49), since
    ONNX Runtime has none on GPUs and would carry each to the host and back.
    """
    real, imaginary = signal[:, 0:1] + QUIET, signal[:, 1:2]
    wide, high = real.abs(), imaginary.abs()
    slope = torch.minimum(wide, high) / torch.maximum(wide, high).clamp_min(1e-30)
    square = slope.square()
    series = square * ARCTANGENT[-1] + ARCTANGENT[-2]
    for coefficient in reversed(ARCTANGENT[:-2]):
        series = series * square + coefficient
    angle = slope * series
    angle = torch.where(high > wide, math.pi / 2 - angle, angle)
    angle = torch.where(real < 0, math.pi - angle, angle)
    return torch.where(imaginary < 0, -angle, angle)
