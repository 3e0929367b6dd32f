"""What an image hands on to the next: the motion that may be read, in windows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from usert.front_end import START_SHAPE
from usert.runtime.engines.start import start_of
from usert.runtime.imaging.estimate import Estimate

CYCLES = 0.1625
GRID = 256
"""Rows of the grid of 512 samples."""


def estimate(motion: NDArray[np.float64], quality: NDArray[np.float64]) -> Estimate:
    return Estimate(
        displacement=motion.astype(np.float32),
        strain=np.zeros(quality.shape, np.float32),
        quality=quality.astype(np.float32),
    )


def ramp(rows: int, lines: int) -> NDArray[np.float64]:
    """A press: axial motion grows with depth, lateral with the line."""
    return np.stack(np.meshgrid(0.02 * np.arange(rows), 0.01 * np.arange(lines), indexing="ij"))


@pytest.mark.parametrize(("rows", "lines"), [(512, 128), (1920, 768), (333, 77)])
def test_windows_hold_the_motion_at_their_middles(rows: int, lines: int) -> None:
    grid = -(-rows * CYCLES * 3 // 64) * 64  # rows of the grid that covers the frame
    start = start_of(estimate(ramp(rows, lines), np.ones((rows, lines))), CYCLES, int(grid))
    assert start.shape == START_SHAPE
    assert start.dtype == np.float32
    middle = (np.arange(32) + 0.5) / 32 * grid / (3 * CYCLES) - 0.5
    whole = (np.arange(32) + 1) / 32 * grid / (3 * CYCLES) <= rows
    there = (start[2] > 0.99) & whole[:, None]
    axial = np.broadcast_to((0.02 * middle * CYCLES)[:, None], (32, 8))
    lateral = np.broadcast_to(0.01 * ((np.arange(8) + 0.5) * -(-lines // 32) * 4 - 0.5), (32, 8))
    assert there.mean() > 0.6
    assert np.abs(start[0] - axial)[there].max() < 0.05
    assert np.abs(start[1] - lateral)[there].max() < 0.06


def test_what_cannot_be_read_is_not_handed_on() -> None:
    motion, quality = ramp(512, 128), np.ones((512, 128))
    motion[:, 256:], quality[256:] = 1e3, 0.3
    motion[:, :100, :40] = np.nan
    start = start_of(estimate(motion, quality), CYCLES, GRID)
    assert np.isfinite(start).all()
    assert np.abs(start[:2]).max() < 2
    assert not start[2, 17:].any()
    assert not start[2, :5, :2].any()


def test_an_image_without_anything_readable_says_nothing() -> None:
    start = start_of(estimate(ramp(512, 128), np.zeros((512, 128))), CYCLES, GRID)
    assert not start.any()


def test_a_scale_is_of_the_motion_alone() -> None:
    one = estimate(ramp(512, 128), np.ones((512, 128)))
    plain, twice = start_of(one, CYCLES, GRID), start_of(one, CYCLES, GRID, scale=2.0)
    np.testing.assert_allclose(twice[:2], 2 * plain[:2], rtol=1e-6)
    np.testing.assert_array_equal(twice[2], plain[2])
