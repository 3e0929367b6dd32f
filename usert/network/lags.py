"""The displacement, of several, with which the signals agree best, and its lag: it puts whole wavelengths right.

The phase of a pulse tells its position to a fraction of a wavelength, but not by how many whole ones it is off. The
magnitude of the complex correlation does. It is formed under each displacement at several lags and made smooth over
many windows; where it is highest, that displacement is taken, moved by that lag. The phase can measure the rest.

Knows nothing of smoothness. Invariant: where all are alike, as in noise, the result lies between them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor

from .complex import power
from .grids import block_mean, interpolated

LAGS = 4
"""Rows of the network's grid, either way: 2.7 wavelengths."""
BLOCK = (8, 2)
"""Rows of that grid and lines of one window."""
AVERAGED = (5, 9)
"""Windows over which magnitudes are averaged: 27 wavelengths, 18 lines."""
SHARP = 40.0
"""How much a likeness outweighs another: the exponent of a soft maximum."""
PREFERENCE = 0.02
"""Likeness by which the displacement that is there already is preferred, a row."""
FIRST = 0.05
"""Likeness by which the first of several displacements is preferred."""


def likeliest(first: Tensor, candidates: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """At each place, of several displacements, the one under which the frames agree best, moved by its best axial lag.

    Shapes: the first frame's signal (B, 2, H, M), and candidates, each a displacement (B, 2, H, M), axial in rows, and
    the second frame's signal (B, 2, H, M) moved by it, H a multiple of 8, M of 2 → (B, 2, H, M).
    """
    found = torch.cat(
        [_at_lags(first, back) - FIRST * (k > 0) for k, (_, back) in enumerate(candidates)], dim=1
    )
    half = AVERAGED[0] // 2, AVERAGED[1] // 2
    mean = functional.avg_pool2d(found, AVERAGED, 1, half, count_include_pad=False)
    count = 2 * LAGS + 1
    share = torch.softmax(SHARP * mean, dim=1)
    lags = torch.arange(-LAGS, LAGS + 1, device=share.device, dtype=share.dtype)[None, :, None, None]
    maps = []
    for part in torch.split(share, count, dim=1):
        maps += [part.sum(dim=1, keepdim=True), (part * lags).sum(dim=1, keepdim=True)]
    smooth = functional.avg_pool2d(torch.cat(maps, dim=1), 3, 1, 1, count_include_pad=False)
    longer = functional.pad(smooth, (1, 1, 1, 1), mode="replicate")
    fine = interpolated(interpolated(longer, BLOCK[1], 3), BLOCK[0], 2)
    axial, lateral = torch.zeros_like(fine[:, :1]), torch.zeros_like(fine[:, :1])
    for (one, _), (weight, lag) in zip(
        candidates, (part.chunk(2, dim=1) for part in torch.split(fine, 2, dim=1)), strict=True
    ):
        axial = axial + weight * one[:, :1] + lag
        lateral = lateral + weight * one[:, 1:]
    return torch.cat((axial, lateral), dim=1)


def _at_lags(first: Tensor, second: Tensor) -> Tensor:
    """Magnitude of the normalised complex correlation in each window at each lag, (B, 2 · LAGS + 1, H / 8, M / 2)."""
    real, imaginary = first.chunk(2, dim=1)
    others_real, others_imaginary = (_lagged(part) for part in second.chunk(2, dim=1))
    along = block_mean(real * others_real + imaginary * others_imaginary, *BLOCK)
    aside = block_mean(imaginary * others_real - real * others_imaginary, *BLOCK)
    # lines are averaged before the rows are moved: half of the numbers
    strength = block_mean(_lagged(block_mean(power(second), 1, BLOCK[1])), BLOCK[0])
    energy = block_mean(power(first), *BLOCK) * strength
    likeness = torch.sqrt(((along.square() + aside.square()) / energy.clamp_min(1e-12)).clamp(1e-12, 1.0))
    lags = torch.arange(-LAGS, LAGS + 1, device=first.device, dtype=first.dtype)[:, None, None]
    return likeness - PREFERENCE * lags.abs()


def _lagged(image: Tensor) -> Tensor:
    """A map (B, 1, H, M) at r + lag for each lag, 0 outside: (B, 2 · LAGS + 1, H, M).

    Lags are channels, not a batch: what is cut and joined then lies in one piece.
    """
    longer = functional.pad(image, (0, 0, LAGS, LAGS))
    return torch.cat([longer[:, :, lag : lag + image.shape[2]] for lag in range(2 * LAGS + 1)], dim=1)
