"""Coarse displacements made of the truth: smooth, and wrong by some wavelengths, as before the network.

The network of the front end `baseband` looks for what companding leaves. Live the coarse map is found in the frames
(`usert.network.coarse`); in a share of the training pairs it is made of the truth here, smoothed over some depths and
lines with a smooth random error added, or no more than one number, so that the network also learns what to do where the
coarse map is far off.

Invariant: the coarse map is smooth: its strain changes over several wavelengths only.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from usert.front_end import SAMPLES_PER_WAVELENGTH

ERROR = ((0.03, 4.0), (0.03, 2.0))
"""Random error: wavelengths along depth, lines across; logarithmic."""
ALONE = 8.0
"""Wavelengths between a pair's mean axial displacement and the number that stands for its coarse map."""
CONSTANT = 0.25
"""Share of pairs whose coarse map is one number."""
KNOTS = ((2, 5), (1, 4))
"""Smallest and largest number of knots of the random error, along depth and across."""
SMOOTH = ((16, 80), (4, 32))
"""Rows of the depth grid and lines over which the truth is averaged."""


def coarse_map(rng: np.random.Generator, truth: Tensor) -> Tensor:
    """Draw a coarse map (1, 2, K, M) for the truth (1, 2, K, M), axial in rows of the depth grid, lateral in lines."""
    if rng.random() < CONSTANT:
        away = torch.zeros_like(truth)
        away[:, :1] = truth[:, :1].mean() + rng.uniform(-1, 1) * ALONE * SAMPLES_PER_WAVELENGTH
        return away
    rows, lines = (int(rng.integers(low, high + 1)) for low, high in SMOOTH)
    found = []
    for field, bounds, unit in zip(
        torch.split(truth, 1, dim=1), ERROR, (SAMPLES_PER_WAVELENGTH, 1.0), strict=True
    ):
        size = math.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1]))) * unit
        found.append(_smooth(field, rows, lines) + size * _random_map(rng, field))
    return torch.cat(found, dim=1)


def _random_map(rng: np.random.Generator, like: Tensor) -> Tensor:
    shape = tuple(int(rng.integers(low, high + 1)) for low, high in KNOTS)
    knots = torch.from_numpy(rng.standard_normal((1, 1, *shape), dtype=np.float32)).to(like.device)
    return functional.interpolate(knots, like.shape[2:], mode="bicubic", align_corners=min(shape) > 1)


def _smooth(field: Tensor, rows: int, lines: int) -> Tensor:
    height, width = field.shape[2:]
    for _ in range(2):
        field = _averaged(_averaged(field, min(rows, height // 2), 2), min(lines, width // 2), 3)
    return field


def _averaged(field: Tensor, length: int, dim: int) -> Tensor:
    """A running mean along `dim`, straight lines going on beyond the ends."""
    half = length // 2
    if half < 1:
        return field
    first, last = field.narrow(dim, 0, 1), field.narrow(dim, field.shape[dim] - 1, 1)
    before = 2 * first - field.narrow(dim, 1, half).flip(dim)
    after = 2 * last - field.narrow(dim, field.shape[dim] - 1 - half, half).flip(dim)
    longer = torch.cat((before, field, after), dim=dim).double()
    total = torch.cat((torch.zeros_like(first).double(), longer.cumsum(dim)), dim=dim)
    window, count = 2 * half + 1, field.shape[dim]
    return ((total.narrow(dim, window, count) - total.narrow(dim, 0, count)) / window).to(field.dtype)
