"""Displacement between two frames measured from their phase, with the weight that it deserves.

The second frame is moved by the displacement known so far; what is still missing turns the phase of its echoes against
those of the first. Correlation of the complex signals in a small window gives that phase, and divided by the local
frequency it is axial displacement (the autocorrelation method: C. Kasai et al., IEEE Trans. Sonics Ultrason. 32(3),
1985; T. Loupas et al., IEEE Trans. Ultrason. Ferroelectr. Freq. Control 42(4), 1995). Across lines there is no carrier;
there the gradient of the complex signal serves, as in optical flow.

The signal is moved in baseband, about its mean frequency, where a linear interpolation is good to one part in a
hundred; the carrier is put back exactly. Measurements lie on a grid of one point for every `BLOCK` samples. Weights are
inverse variances up to a factor: the phase of a window of correlation ρ has a variance in proportion to (1 - ρ²) / ρ²
(the Cramér-Rao bound; W. F. Walker and G. E. Trahey, same Trans. 42(2), 1995).

Knows nothing of smoothness. Invariant: identical frames at no displacement measure none.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from .baseband import Signals, lag_one
from .companding import moved
from .complex import angle, power, product, times, turn
from .grids import block_mean, box_mean

BLOCK = 8
"""Samples along depth of one point of the grid; a line across."""
WINDOW = (5, 5)
"""Points of the grid over which the complex correlation is formed: 40 samples, 5 lines."""
LEAST_FREQUENCY = 0.2
"""Of the mean frequency, below which a local one is not believed, since it divides."""
SLOWEST = 0.05
"""Radians a row, the same of frames without echoes, whose mean frequency is 0."""
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


class Measurement(NamedTuple):
    """Displacement (B, 2, K, M), axial in samples and lateral in lines, and its weight, alike; K = N / BLOCK."""

    displacement: Tensor
    weight: Tensor


def from_channels(first: Tensor, second: Tensor) -> Signals:
    """Signals of a pair at the scanner's sampling, about its mean frequency, from both `Channels` (B, 3, N, M)."""
    a, b = first[:, 0::2].float(), second[:, 0::2].float()
    lag = (lag_one(a) + lag_one(b)).sum(dim=(2, 3), keepdim=True)
    frequency = angle(lag)
    at = torch.arange(a.shape[2], device=a.device, dtype=torch.float32)[:, None]
    down = turn(-frequency * at)
    return Signals(times(a, down), times(b, down), frequency)


def measure(signals: Signals, displacement: Tensor, block: int) -> Measurement:
    """Measure the displacement of the pair, given one (B, 2, N, M) that is right to half a wavelength.

    The result is on a grid of one point for every `block` rows.
    """
    first, frequency = signals.first, signals.frequency
    back = moved(signals, displacement)
    slope_first, slope_moved = _across(first), _across(back)
    asymmetry = zip(
        product(first, slope_moved, conjugate=True), product(slope_first, back, conjugate=True), strict=True
    )
    products = torch.cat(
        (
            *product(first, back, conjugate=True),
            lag_one(first) + lag_one(back),
            *(one - other for one, other in asymmetry),
            power(first),
            power(back),
            (power(slope_first) + power(slope_moved)) / 2,
        ),
        dim=1,
    )
    sums = block_mean(products, block)
    sums = box_mean(sums, *WINDOW)
    correlation, lag, across = sums[:, 0:2], sums[:, 2:4], sums[:, 4:6]
    energy = sums[:, 6:7], sums[:, 7:8]
    steepness = sums[:, 8:9]

    local = torch.maximum(frequency + angle(lag), (LEAST_FREQUENCY * frequency).clamp_min(SLOWEST))
    axial = angle(correlation) / local
    size = torch.sqrt(power(correlation) + QUIET)
    # with its phase taken out, the moved frame lags the first one by the lateral displacement alone
    aligned = (across * correlation).sum(dim=1, keepdim=True) / size
    lateral = (aligned / (2 * steepness + QUIET)).clamp(-FURTHEST_LATERAL, FURTHEST_LATERAL)

    coherence = (power(correlation) / (energy[0] * energy[1] + QUIET)).clamp_max(1.0)
    weight = coherence / (1 - coherence + SMALL_NOISE)
    relative = (2 * steepness / (energy[0] + energy[1] + QUIET)).clamp_max(STEEPEST)
    known = block_mean(displacement, block)
    return Measurement(
        known + torch.cat((axial, lateral), dim=1),
        torch.cat((weight, weight * relative), dim=1).clamp_min(LEAST_WEIGHT),
    )


def _across(signal: Tensor) -> Tensor:
    """(B, C, N, M): central difference from line to line, 0 on the outermost lines."""
    return functional.pad((signal[:, :, :, 2:] - signal[:, :, :, :-2]) / 2, (1, 1))
