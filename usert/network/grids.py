"""Means over blocks and boxes of a map, minima over boxes, and interpolation between a map and a coarser grid of it.

The same numbers as torch's pooling and `interpolate`, written as sums and minima of a map that is moved or cut into
parts: for maps of a few channels the libraries that run the exported graph do those several times faster than pooling
and resizing.

Invariant: the block means of an interpolated straight line are its points.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
import torch.nn.functional as functional
from torch import Tensor

FEW_ROWS = 8
"""Rows of a block up to which they are added one by one."""
FEW_CHANNELS = 3
"""Channels up to which a map is moved for the mean of a box; pooling does eight or sixteen at once."""


def block_mean(image: Tensor, rows: int, lines: int = 1) -> Tensor:
    """Means of blocks of `rows` × `lines`: (B, C, N, M) → (B, C, N / rows, M / lines)."""
    if rows > 1:
        parts = torch.unflatten(image, 2, (-1, rows))
        image = reduce(torch.add, parts.unbind(3)) * (1.0 / rows) if rows <= FEW_ROWS else parts.mean(dim=3)
    if lines > 1:
        image = torch.unflatten(image, 3, (-1, lines)).mean(dim=4)
    return image


def box_mean(image: Tensor, rows: int, lines: int) -> Tensor:
    """Mean over `rows` × `lines` points about each, both odd, with 0 outside: (B, C, N, M) → (B, C, N, M)."""
    # a graph of any shape pools five times as slowly (OpenVINO 2026.4)
    if image.shape[1] > FEW_CHANNELS and type(image.shape[2]) is int:
        return functional.avg_pool2d(image, (rows, lines), 1, (rows // 2, lines // 2))
    padded = functional.pad(image, (lines // 2, lines // 2, rows // 2, rows // 2))
    return _running(_running(padded, rows, 2, torch.add), lines, 3, torch.add) * (1.0 / (rows * lines))


def box_min(image: Tensor, rows: int, lines: int) -> Tensor:
    """Least of `rows` × `lines` points about each, both odd, of those that there are: (B, C, N, M) → (B, C, N, M)."""
    beyond = torch.finfo(image.dtype).max
    padded = functional.pad(image, (lines // 2, lines // 2, rows // 2, rows // 2), value=beyond)
    return _running(_running(padded, rows, 2, torch.minimum), lines, 3, torch.minimum)


def _running(image: Tensor, count: int, dim: int, joined: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`joined` over `count` neighbours along axis `dim`, which is shorter by `count` - 1 then.

    Made of thirds: the least of some points may be of parts that overlap, a sum only of parts that come out even.
    """
    if count == 1:
        return image
    part = -(-count // 3)
    if joined is torch.add and count % 3:
        part = 1
    parts = _running(image, part, dim, joined)
    firsts = dict.fromkeys(min(first, count - part) for first in range(0, count, part))
    length = image.shape[dim] - count + 1
    return reduce(joined, (parts.narrow(dim, first, length) for first in firsts))


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
