"""The depth grid: the same depths in wavelengths whatever the sampling, and clear refusals."""

from __future__ import annotations

import numpy as np
import pytest

from usert.errors import FrameError, OptionError
from usert.front_end import (
    GRID_MULTIPLE,
    SAMPLES_PER_WAVELENGTH,
    as_front_end,
    depth_grid,
    graph_inputs,
    grid_rows,
)


@pytest.mark.parametrize("cycles", [0.05, 0.1625, 0.33, 0.45])
def test_rows_lie_at_the_same_depths_in_wavelengths(cycles: float) -> None:
    middle = depth_grid(192, cycles) + 0.5  # from the top of the first sample
    np.testing.assert_allclose(middle * cycles, (np.arange(192) + 0.5) / SAMPLES_PER_WAVELENGTH, rtol=1e-5)


@pytest.mark.parametrize(("rows", "cycles"), [(512, 0.1625), (60, 0.05), (4096, 0.4), (1000, 0.25)])
def test_a_grid_covers_the_frame_and_hardly_more(rows: int, cycles: float) -> None:
    count = grid_rows(rows, cycles)
    covered = depth_grid(count, cycles)[-1] + 0.5 / (SAMPLES_PER_WAVELENGTH * cycles)
    assert count % GRID_MULTIPLE == 0
    assert covered >= rows - 0.5 - 1e-3
    assert count == GRID_MULTIPLE or grid_rows(rows, cycles) * 1.0 <= (
        rows * cycles * SAMPLES_PER_WAVELENGTH + GRID_MULTIPLE
    )


@pytest.mark.parametrize("cycles", [0.0, 0.001, 0.6, float("nan")])
def test_a_centre_frequency_that_cannot_be_is_refused(cycles: float) -> None:
    with pytest.raises(FrameError, match=r"f0_hz over fs_hz: got .*, expected 0\.02 to 0\.49"):
        grid_rows(512, cycles)


def test_frames_for_a_grid_get_whole_lines_that_do_not_echo() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(-900, 900, (2, 100, 40), dtype=np.int16)
    a, b, depths = graph_inputs("baseband", first, second, 0.16)
    assert a.shape == b.shape == (100, 64)
    np.testing.assert_array_equal(a[:, :40], first)
    assert (a[:, 40:] == round(first.mean())).all()
    assert depths.dtype == np.float32
    assert len(depths) == grid_rows(100, 0.16)


def test_the_paper_s_front_end_takes_the_frames_as_they_are() -> None:
    frame = np.zeros((100, 40), np.int16)
    assert graph_inputs("rf", frame, frame, None) == (frame, frame)


def test_a_grid_needs_to_know_the_sampling() -> None:
    frame = np.zeros((100, 40), np.int16)
    with pytest.raises(FrameError, match="sampling and centre frequency"):
        graph_inputs("baseband", frame, frame, None)


def test_an_unknown_name_is_refused() -> None:
    assert as_front_end("rf", "front end") == "rf"
    with pytest.raises(OptionError, match=r"^front end: got 'iq', expected rf or baseband$"):
        as_front_end("iq", "front end")
