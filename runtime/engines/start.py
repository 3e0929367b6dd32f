"""The motion of an image as the start of the next: what may be read of it, in few windows.

Where an image cannot be read, it shows smoothness and not motion, so nothing of it is handed on there: the graph fills
those windows from the others. Invariant: a start is finite, whatever the estimate.
"""

from __future__ import annotations

from typing import Any

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
    along = _bounds(rows, down, length, windows)
    across = _bounds(lines, over, -(-lines // LINE_MULTIPLE) * LINE_MULTIPLE, bands)
    at = slice(down // 2, None, down), slice(over // 2, None, over)
    motion = estimate.displacement[:, *at]
    readable = (estimate.quality[at] >= READABLE_QUALITY) & np.isfinite(motion).all(axis=0)
    count = _sums(readable, along, across)
    total = _sums(np.where(readable, motion, 0), along, across)
    everywhere = total.sum(axis=(1, 2), keepdims=True) / max(count.sum(), 1)
    mean = np.where(count > 0, total / np.maximum(count, 1), everywhere) * scale
    mean[0] *= cycles_per_sample
    pixels = np.diff(along)[:, None] * np.diff(across)[None]
    return np.concatenate((mean, (count / np.maximum(pixels, 1))[None])).astype(np.float32)


def _bounds(size: int, step: int, length: float, parts: int) -> NDArray[np.intp]:
    """(parts + 1,): of every `step`-th of `size` pixels, the first in each part of `length` pixels, and their number.

    Those beyond the last part count to it.
    """
    part = np.minimum((np.arange(step // 2, size, step) + 0.5) * parts / length, parts - 1).astype(np.int64)
    bounds = np.searchsorted(part, np.arange(parts + 1))
    return bounds


def _sums(values: NDArray[Any], along: NDArray[np.intp], across: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sums (…, windows, bands) of an image (…, N, M) between bounds.

    No product of matrices: the threads that numpy's library runs one on go on spinning, and take the engine's time.
    """
    for axis, bounds in ((-2, along), (-1, across)):
        first = np.zeros_like(values.take([0], axis), np.float64)
        running = np.concatenate((first, np.cumsum(values, axis, np.float64)), axis)
        values = np.diff(running.take(bounds, axis), axis=axis)
    return values
