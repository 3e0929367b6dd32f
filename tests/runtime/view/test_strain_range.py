"""The range of the colours: steady contrast at any compression, and never so narrow that noise looks like tissue."""

from __future__ import annotations

import numpy as np
import pytest

from usert.runtime.view.strain_range import LEAST, StrainRange

PATTERN = np.where(np.arange(100) < 30, 0.4, 1.2)[None].repeat(50, axis=0)


@pytest.mark.parametrize("mean", [0.002, 0.01, -0.004])
def test_tissue_keeps_its_colour_whatever_the_compression(mean: float) -> None:
    range_ = StrainRange()
    quality = np.ones_like(PATTERN)
    units = []
    for scale in (mean, 2 * mean, 0.7 * mean):
        soft = range_.soft_end(scale * PATTERN, quality, 0.7)
        assert np.sign(soft) == np.sign(mean)
        units.append(0.4 * scale / soft)
    assert max(units) - min(units) < 0.01
    assert 0.2 < units[0] < 0.5


def test_noise_and_what_must_not_be_read_do_not_set_the_range() -> None:
    range_ = StrainRange()
    assert range_.soft_end(1e-5 * PATTERN, np.ones_like(PATTERN), 0.7) == LEAST
    assert range_.soft_end(PATTERN, np.zeros_like(PATTERN), 0.7) == LEAST
    wild = np.where(np.arange(50)[:, None] < 25, 0.005 * PATTERN, 9.0)
    quality = np.where(np.arange(50)[:, None] < 25, 1.0, 0.2) + 0 * PATTERN
    assert StrainRange().soft_end(wild, quality, 0.7) < 0.01
