"""Strain: exact on straight lines up to the ends, equal to a fit elsewhere, honest about what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from usert.errors import OptionError
from usert.frame import Scan
from usert.strain import axial_strain, least_squares_taps, window_samples


@pytest.mark.parametrize("window", [3, 31, 93, 999])
def test_a_linear_displacement_has_its_exact_strain_everywhere(window: int) -> None:
    r = np.arange(2195.0 if window < 999 else 500.0)[:, np.newaxis]
    slopes = np.array([-0.02, -0.001, 0.0, 0.03])
    strain = axial_strain(40 + slopes * r, window)
    assert strain.dtype == np.float32
    np.testing.assert_allclose(strain, np.broadcast_to(-slopes, strain.shape), rtol=1e-6, atol=1e-8)


def test_compression_is_positive() -> None:
    towards_the_probe_growing_with_depth = -0.01 * np.arange(100.0)[:, np.newaxis]
    assert (axial_strain(towards_the_probe_growing_with_depth, 11) > 0).all()


def test_it_is_the_slope_of_the_line_fitted_to_each_whole_window() -> None:
    rng = np.random.default_rng(0)
    d = np.cumsum(rng.standard_normal((60, 3)), axis=0)
    strain = axial_strain(d, 15)
    for i in range(60):
        first = min(max(i - 7, 0), 45)
        slope = np.polynomial.polynomial.polyfit(np.arange(15), d[first : first + 15], 1)[1]
        np.testing.assert_allclose(strain[i], -slope, rtol=1e-5, atol=1e-6)
    # the same by the taps, as a graph does it: a valid correlation, its ends repeated
    taps = least_squares_taps(15)
    valid = np.stack([np.correlate(d[:, m], taps, mode="valid") for m in range(3)], axis=1)
    np.testing.assert_allclose(strain, -np.pad(valid, ((7, 7), (0, 0)), mode="edge"), atol=1e-6)


def test_batches_are_the_same_as_single_images() -> None:
    d = np.random.default_rng(1).standard_normal((2, 40, 5)).astype(np.float32)
    both = axial_strain(d, 9)
    np.testing.assert_array_equal(both, np.stack([axial_strain(d[0], 9), axial_strain(d[1], 9)]))


def test_missing_displacements_are_left_out_of_the_fit() -> None:
    d = np.tile(-0.01 * np.arange(100.0)[:, np.newaxis], (1, 3))
    d[40:44, 1] = np.nan
    d[50:80, 2] = np.inf
    strain = axial_strain(d, 11)
    np.testing.assert_allclose(strain[:, :2], 0.01, rtol=1e-5)
    line = strain[:, 2]
    assert np.isnan(line[50:80]).sum() == 30
    np.testing.assert_allclose(line[np.isfinite(line)], 0.01, rtol=1e-5)
    assert np.isnan(axial_strain(np.full((20, 2), np.nan), 5)).all()


def test_taps_are_the_weights_of_a_line_fit() -> None:
    np.testing.assert_allclose(least_squares_taps(5), [-0.2, -0.1, 0, 0.1, 0.2])
    for window in (1, 4):
        with pytest.raises(ValueError, match=f"window_samples: got {window}"):
            least_squares_taps(window)
        with pytest.raises(ValueError, match=f"window_samples: got {window}"):
            axial_strain(np.zeros((10, 2)), window)
    with pytest.raises(ValueError, match="got 1 rows"):
        axial_strain(np.zeros((1, 2)), 3)


def test_window_is_the_nearest_odd_number_of_samples(scan: Scan) -> None:
    assert scan.axial_pitch_mm == pytest.approx(0.01925)
    assert window_samples(scan, 1.8) == 93  # 93.5
    assert window_samples(scan, 94.1 * 0.01925) == 95
    assert window_samples(scan, 0.001) == 3
    for bad in (0, -1, float("nan"), float("inf")):
        with pytest.raises(OptionError, match=f"got {bad} mm"):
            window_samples(scan, bad)
