"""Complex numbers as two channels, real and imaginary part, since exported graphs have no complex type.

Invariant: the channel axis is axis 1, and has the real part first.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

QUIET = 1e-7
"""Added to a real part of an echo level of 1 before its angle is taken: what is quieter has none. (The ONNX exporter
drops the addition of anything below 1e-8.)"""
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
SINE = (1.0, -0.1666666664, 0.0083333315, -0.0001984090, 0.0000027526, -0.0000000239)
"""Of the odd powers of an angle up to π / 2."""
WHOLE_TURN = (6.28125, 1.9353071795864769e-3)
"""2π in two parts, of which some thousand times the first one is exact in float32."""


def times(a: Tensor, b: Tensor, *, conjugate: bool = False) -> Tensor:
    """Product a · b, or a · b* with `conjugate`, of (B, 2, …) and a tensor that broadcasts with it."""
    return torch.cat(product(a, b, conjugate=conjugate), dim=1)


def product(a: Tensor, b: Tensor, *, conjugate: bool = False) -> tuple[Tensor, Tensor]:
    """Real and imaginary part (B, 1, …) of a · b, or of a · b* with `conjugate`, as `times` joins them."""
    sign = -1.0 if conjugate else 1.0
    (a_re, a_im), (b_re, b_im) = a.chunk(2, dim=1), b.chunk(2, dim=1)
    return a_re * b_re - sign * a_im * b_im, a_im * b_re + sign * a_re * b_im


def turned(signal: Tensor, angle: Tensor) -> Tensor:
    """A signal (B, 2, …) turned by an angle (B, 1, …) in radians: `times` and `turn` without a map between them."""
    across, along = cosine(angle), sine(angle)
    real, imaginary = signal.chunk(2, dim=1)
    return torch.cat((real * across - imaginary * along, imaginary * across + real * along), dim=1)


def turn(angle: Tensor) -> Tensor:
    """Unit number (B, 2, …), cosine and sine, of an angle (B, 1, …) in radians, by `cosine` and `sine`."""
    return torch.cat((cosine(angle), sine(angle)), dim=1)


def cosine(angle: Tensor) -> Tensor:
    """Cosine of an angle in radians, as exact as `sine`."""
    return _series(math.pi / 2 - _within_a_turn(angle).abs())


def sine(angle: Tensor) -> Tensor:
    """Sine of an angle in radians of less than some thousand turns, to 2e-7.

    By a polynomial (M. Abramowitz, I. A. Stegun, "Handbook of Mathematical Functions", 4.3.97), which the libraries
    that run the exported graph compute on vectors; their own sine goes number by number.
    """
    within = _within_a_turn(angle)
    return _series(2 * within.clamp(-math.pi / 2, math.pi / 2) - within)


def _within_a_turn(angle: Tensor) -> Tensor:
    """The same angle between -π and π."""
    turns = torch.floor(angle * (0.5 / math.pi) + 0.5)
    return angle - turns * WHOLE_TURN[0] - turns * WHOLE_TURN[1]


def _series(angle: Tensor) -> Tensor:
    """Sine of an angle up to π / 2 either way."""
    square = angle.square()
    series = square * SINE[-1] + SINE[-2]
    for coefficient in reversed(SINE[:-2]):
        series = series * square + coefficient
    return angle * series


def power(signal: Tensor) -> Tensor:
    """Squared magnitude (B, 1, …) of a signal (B, 2, …)."""
    real, imaginary = signal.chunk(2, dim=1)  # libraries fuse this, and a sum over channels not
    return real * real + imaginary * imaginary


def angle(signal: Tensor) -> Tensor:
    """Phase (B, 1, …) in radians of a signal (B, 2, …), to 1e-6; 0 for a signal of 0.

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
    found = slope * series
    found = torch.where(high > wide, math.pi / 2 - found, found)
    found = torch.where(real < 0, math.pi - found, found)
    return torch.where(imaginary < 0, -found, found)
