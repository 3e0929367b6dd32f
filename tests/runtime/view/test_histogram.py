"""The histogram of a region: numpy's, of the readable pixels alone, on round numbers."""

from __future__ import annotations

import numpy as np
import pytest

from usert.runtime.view.histogram import BINS, Histogram


def test_it_is_that_of_numpy_over_the_readable_pixels() -> None:
    rng = np.random.default_rng(3)
    strain = rng.normal(0.008, 0.002, (60, 40)).astype(np.float32)
    quality = rng.uniform(0.4, 1, strain.shape).astype(np.float32)
    strain[3, 3] = np.nan
    mask = np.hypot(*np.mgrid[-30:30, -20:20]) < 18
    readable = mask & (quality >= 0.7) & np.isfinite(strain)
    values = strain[readable].astype(np.float64)
    found = Histogram.of(strain, quality, 0.7, mask)
    assert found is not None
    assert found.mean == pytest.approx(values.mean())
    assert found.median == pytest.approx(np.median(values))
    assert found.spread == pytest.approx(values.std())
    assert found.readable_share == readable.sum() / mask.sum()
    edges = found.first + found.width * np.arange(BINS + 1)
    expected, _ = np.histogram(values.clip(edges[0], edges[-1] - 1e-12), edges)
    assert sum(found.counts) == len(values)
    assert np.abs(np.array(found.counts) - expected).max() <= 1
    assert f"{found.width:.0e}"[0] in "125"
    inner = np.count_nonzero((values >= edges[0]) & (values < edges[-1]))
    assert inner > 0.98 * len(values)


@pytest.mark.parametrize("value", [0.0, -0.01, 0.3])
def test_strain_without_structure_has_one_bin(value: float) -> None:
    found = Histogram.of(np.full((9, 9), value), np.ones((9, 9)), 0.7)
    assert found is not None
    assert sorted(found.counts)[-1] == 81
    assert found.spread == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("strain", "quality"), [(0.01, 0.5), (np.nan, 1.0)])
def test_where_nothing_may_be_read_there_is_none(strain: float, quality: float) -> None:
    assert Histogram.of(np.full((4, 4), strain), np.full((4, 4), quality), 0.7) is None
    assert Histogram.of(np.ones((0, 4)), np.ones((0, 4)), 0.7) is None
