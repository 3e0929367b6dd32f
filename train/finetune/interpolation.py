"""Band-limited interpolation along depth.

Invariant: the original rows are unchanged.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

HALF_TAPS = 6
"""Rows on each side of a filter: a sine of .25 cycles a row is off by less than .1 % of its amplitude."""
KAISER_BETA = 5.0


def refine_rows(image: Tensor, factor: int) -> Tensor:
    """Interpolate to `factor` rows for each one, by a Kaiser-windowed sinc with repeated ends.

    Shapes: (B, C, N, M) → (B, C, N · factor, M); row r · factor is row r of `image`, the others lie between. Errors:
    `ValueError` for a factor below 1.
    """
    if factor < 1:
        raise ValueError(f"factor: got {factor}, expected 1 or more")
    if factor == 1:
        return image
    batch, channels, rows, lines = image.shape
    taps = torch.from_numpy(_taps(factor)).to(image)
    padded = functional.pad(
        image.reshape(batch * channels, 1, rows, lines), (0, 0, HALF_TAPS - 1, HALF_TAPS), mode="replicate"
    )
    phases = functional.conv2d(padded, taps)  # (B·C, factor, N, M)
    return phases.transpose(1, 2).reshape(batch, channels, rows * factor, lines)


@lru_cache(maxsize=8)
def _taps(factor: int) -> NDArray[np.float32]:
    """Filters (factor, 1, 2 · HALF_TAPS, 1), one a phase, each of unit sum."""
    at = np.arange(-HALF_TAPS + 1, HALF_TAPS + 1)[None, :] - (np.arange(factor) / factor)[:, None]
    window = np.i0(KAISER_BETA * np.sqrt(np.maximum(1 - (at / HALF_TAPS) ** 2, 0))) / np.i0(KAISER_BETA)
    taps = np.sinc(at) * window
    taps /= taps.sum(axis=1, keepdims=True)
    return taps[:, None, :, None].astype(np.float32)
