"""Between a map and a coarser grid of it: means of blocks, and linear interpolation.

The same numbers as `avg_pool2d` and `interpolate`, written as plain sums over a reshaped map: for maps of a few
channels the libraries that run the exported graph do those several times faster than pooling and resizing.

Knows nothing of what the maps mean. Invariant: the block means of an interpolated straight line are its points.
"""

from __future__ import annotations

import torch
from torch import Tensor


def block_mean(image: Tensor, rows: int, lines: int = 1) -> Tensor:
    """Shapes: (B, C, N, M) → (B, C, N / rows, M / lines)."""
    if rows > 1:
        image = torch.unflatten(image, 2, (-1, rows)).mean(dim=3)
    if lines > 1:
        image = torch.unflatten(image, 3, (-1, lines)).mean(dim=4)
    return image


def interpolated(longer: Tensor, factor: int, dim: int) -> Tensor:
    """`factor` samples, centred on it, in the place of each point of axis `dim` but the first and the last, which
    are there for their neighbours.

    Shapes: (…, K + 2, …) → (…, K · factor, …).
    """
    count = longer.shape[dim] - 2
    away = (torch.arange(factor, device=longer.device, dtype=longer.dtype) + 0.5) / factor - 0.5
    away = away.reshape(-1, *[1] * (longer.ndim - 1 - dim))
    before, here, after = (longer.narrow(dim, first, count).unsqueeze(dim + 1) for first in range(3))
    samples = before * (-away).clamp_min(0.0) + here * (1 - away.abs()) + after * away.clamp_min(0.0)
    return samples.flatten(dim, dim + 1)
