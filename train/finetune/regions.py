"""The regions of a frame to learn from: those with echoes, outside near field, shadow and glare.

Invariant: a region lies inside its frame and its sides are multiples of 32, as the network needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.network.liteflownet import MULTIPLE

BLOCK = (32, 8)
"""Samples and lines over which the echo level is averaged."""
GLARE_DB = 30.0
"""What lies this far above the median level is a saturated band, not tissue."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Region:
    """A rectangle of a frame in samples and lines, half-open."""

    rows: tuple[int, int]
    lines: tuple[int, int]


def usable(frame: NDArray[Any], *, near_rows: int, shadow_db: float) -> NDArray[np.bool_]:
    """Mask (N, M) of the places where `frame` (N, M) has echoes of tissue.

    Excluded are the first `near_rows` rows; blocks whose level is more than `shadow_db` below, or 30 dB above, the
    median of the rest; samples that are not finite. A constant frame has nothing usable.
    """
    rows, lines = frame.shape
    finite = np.isfinite(frame)
    values = np.where(finite, frame, 0).astype(np.float64)
    offset = np.median(values, axis=0)  # an offset of the line; a mean would follow a saturated band
    power = np.where(finite, (values - offset) ** 2, 0)
    level = _block_mean(power)
    good = np.zeros(level.shape, bool)
    below = level[near_rows // BLOCK[0] :]
    if below.size and (middle := float(np.median(below))) > 0:
        decibel = 10 * np.log10(np.maximum(level, 1e-12 * middle) / middle)
        good = (decibel > -shadow_db) & (decibel < GLARE_DB)
    mask: NDArray[np.bool_] = np.repeat(np.repeat(good, BLOCK[0], 0), BLOCK[1], 1)[:rows, :lines] & finite
    mask[:near_rows] = False
    return mask


def crop_that_fits(shape: tuple[int, int], crop: tuple[int, int]) -> tuple[int, int]:
    """The shape `crop` (N, M), or where the frame is smaller the largest multiples of 32 that fit it."""
    rows, lines = (min(side, whole // MULTIPLE * MULTIPLE) for side, whole in zip(crop, shape, strict=True))
    return rows, lines


def choose_regions(
    mask: NDArray[np.bool_], crop: tuple[int, int], *, count: int, least_signal: float, near_rows: int = 0
) -> tuple[Region, ...]:
    """Choose at most `count` crops below `near_rows` with the largest usable share, each at least `least_signal`.

    `mask` is that of `usable`, `crop` the shape (N, M). Crops lie on a grid of quarters of their size; two of them
    overlap by half at most.
    """
    rows, lines = mask.shape
    total = np.zeros((rows + 1, lines + 1))
    total[1:, 1:] = mask.cumsum(0).cumsum(1)
    tops = [near_rows + top for top in _places(crop[0], rows - near_rows)]
    lefts = _places(crop[1], lines)
    found: list[tuple[float, Region]] = []
    for top in tops:
        for left in lefts:
            end, right = top + crop[0], left + crop[1]
            inside = total[end, right] - total[top, right] - total[end, left] + total[top, left]
            share = inside / (crop[0] * crop[1])
            if share >= least_signal:
                found.append((-share, Region(rows=(top, end), lines=(left, right))))
    chosen: list[Region] = []
    while found and len(chosen) < count:
        # the least overlap first, then the most echoes: crops of equal worth spread over the frame
        _, _, region = min((_most_overlap(one, chosen), share, one) for share, one in found)
        chosen.append(region)
        found = [(share, one) for share, one in found if _most_overlap(one, chosen) <= 0.5]
    return tuple(chosen)


def _most_overlap(region: Region, others: list[Region]) -> float:
    return max((_overlap(region, other) for other in others), default=0.0)


def _places(side: int, whole: int) -> list[int]:
    if side > whole:
        return []
    step = max(1, side // 4)
    return sorted({*range(0, whole - side + 1, step), whole - side})


def _overlap(a: Region, b: Region) -> float:
    """Shared area over the area of one region."""
    rows = max(0, min(a.rows[1], b.rows[1]) - max(a.rows[0], b.rows[0]))
    lines = max(0, min(a.lines[1], b.lines[1]) - max(a.lines[0], b.lines[0]))
    return rows * lines / ((a.rows[1] - a.rows[0]) * (a.lines[1] - a.lines[0]))


def _block_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over blocks; those at the ends may be smaller."""
    for axis, size in enumerate(BLOCK):
        starts = np.arange(0, values.shape[axis], size)
        counts = np.diff(np.append(starts, values.shape[axis]))
        shape = (-1, 1) if axis == 0 else (1, -1)
        values = np.add.reduceat(values, starts, axis=axis) / counts.reshape(shape)
    return values
