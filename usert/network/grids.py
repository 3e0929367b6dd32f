"""Means over blocks and boxes of a map, and linear interpolation between a map and a coarser grid of it.

Block means and interpolation are the same numbers as `avg_pool2d` and `interpolate`, written as plain sums over a
reshaped map: for maps of a few channels the libraries that run the exported graph do those several times faster than
pooling with strides and resizing.

Invariant: the block means of an interpolated straight line are its points.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor


def block_mean(image: Tensor, rows: int, lines: int = 1) -> Tensor:
    """Means of blocks of `rows` × `lines`: (B, C, N, M) → (B, C, N / rows, M / lines)."""
    if rows > 1:
        image = torch.unflatten(image, 2, (-1, rows)).mean(dim=3)
    if lines > 1:
        image = torch.unflatten(image, 3, (-1, lines)).mean(dim=4)
    return image


def box_mean(image: Tensor, rows: int, lines: int) -> Tensor:
    """Mean over `rows` × `lines` points about each, both odd, with 0 outside: (B, C, N, M) → (B, C, N, M)."""
    if type(image.shape[2]) is int:  # and no symbol of an exported graph
        return functional.avg_pool2d(image, (rows, lines), 1, (rows // 2, lines // 2))
    # the same numbers for the graph of any shape, in which OpenVINO (2026.4) takes five times as long to pool
    if rows > 1:
        at = torch.arange(image.shape[2], device=image.device, dtype=image.dtype)
        near = (at[:, None] - at[None, :]).abs() <= rows // 2
        image = torch.matmul(near.to(image.dtype), image)
    if lines > 1:
        padded = functional.pad(image, (lines // 2, lines // 2))
        image = sum(padded.narrow(3, k, image.shape[3]) for k in range(lines))  # type: ignore[assignment]
    return image * (1.0 / (rows * lines))


def interpolated(longer: Tensor, factor: int, dim: int) -> Tensor:
    """Interpolate linearly along axis `dim`: `factor` samples in the place of each point, centred on it.

    Shapes: (…, K + 2, …) → (…, K · factor, …); the first and last points serve as neighbours only.
    """
    count = longer.shape[dim] - 2
    away = (torch.arange(factor, device=longer.device, dtype=longer.dtype) + 0.5) / factor - 0.5
    away = away.reshape(-1, *[1] * (longer.ndim - 1 - dim))
    before, here, after = (longer.narrow(dim, first, count).unsqueeze(dim + 1) for first in range(3))
    samples = before * (-away).clamp_min(0.0) + here * (1 - away.abs()) + after * away.clamp_min(0.0)
    return samples.flatten(dim, dim + 1)


def at_depths(image: Tensor, rows: Tensor) -> Tensor:
    """Interpolate `image` at the depths `rows` (K,), counted in its own rows, linear, beyond the outermost too.

    Shapes: (B, C, N, M) → (B, C, K, M).
    """
    below = torch.floor(rows).clamp(min=0).clamp_max(image.shape[2] - 2)
    share = (rows - below)[:, None]
    first = below.to(torch.int64)
    upper, lower = image.index_select(2, first), image.index_select(2, first + 1)
    return upper + share * (lower - upper)
