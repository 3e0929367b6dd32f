"""The motion of an image as the start of the next: what may be read of it, in few windows.

Where an image cannot be read, it shows smoothness and not motion, so nothing of it is handed on there: the graph fills
those windows from the others. Invariant: a start is finite, whatever the estimate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from usert.front_end import LINE_MULTIPLE, SAMPLES_PER_WAVELENGTH, START_SHAPE
from usert.quality import READABLE_QUALITY

from ..imaging.estimate import Estimate

_LOOKED_AT = (256, 64)
"""Samples and lines that are looked at, at most twice as many."""


def start_of(
    estimate: Estimate, cycles_per_sample: float, grid_rows: int, *, scale: float = 1.0
) -> NDArray[np.float32]:
    """The start (3, 32, 8) of `usert.front_end.START_SHAPE` that an estimate gives, with its motion times `scale`.

    `cycles_per_sample` is f0 over fs of its frames, also above one half, for IQ. `grid_rows`: rows of the depth grid
    on which the graph runs such frames, `Follower.grid_rows_at`. The weight of a window is the share of it that may be
    read.
    """
    rows, lines = estimate.quality.shape
    _, windows, bands = START_SHAPE
    length = grid_rows / (SAMPLES_PER_WAVELENGTH * cycles_per_sample)
    down, over = (max(1, size // most) for size, most in zip((rows, lines), _LOOKED_AT, strict=True))
    along = _members(rows, down, length, windows)
    across = _members(lines, over, -(-lines // LINE_MULTIPLE) * LINE_MULTIPLE, bands)
    at = slice(down // 2, None, down), slice(over // 2, None, over)
    motion = estimate.displacement[:, *at]
    readable = (estimate.quality[at] >= READABLE_QUALITY) & np.isfinite(motion).all(axis=0)
    count = along @ readable.astype(np.float64) @ across.T
    total = along @ np.where(readable, motion, 0).astype(np.float64) @ across.T
    everywhere = total.sum(axis=(1, 2), keepdims=True) / max(count.sum(), 1)
    mean = np.where(count > 0, total / np.maximum(count, 1), everywhere) * scale
    mean[0] *= cycles_per_sample
    pixels = along.sum(axis=1)[:, None] * across.sum(axis=1)[None]
    return np.concatenate((mean, (count / np.maximum(pixels, 1))[None])).astype(np.float32)


def _members(size: int, step: int, length: float, parts: int) -> NDArray[np.float64]:
    """(parts, pixels): 1 where every `step`-th of `size` pixels lies in a part of `length` pixels."""
    part = np.minimum((np.arange(step // 2, size, step) + 0.5) * parts / length, parts - 1).astype(np.int64)
    members: NDArray[np.float64] = (part == np.arange(parts)[:, None]).astype(np.float64)
    return members
