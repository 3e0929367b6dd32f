"""Percentiles by their definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from usert.runtime.bench.result import Percentiles
from usert.runtime.protocol.age import nearest_rank


@pytest.mark.parametrize("count", [1, 2, 7, 100, 999, 1000, 1001])
def test_a_percentile_is_the_least_value_that_the_share_does_not_exceed(count: int) -> None:
    values = np.random.default_rng(count).random(count)
    for share in (0.5, 0.9, 0.99, 0.999, 1.0):
        expected = min(value for value in values if np.count_nonzero(values <= value) >= share * count)
        assert nearest_rank(sorted(values), share) == expected


def test_of_few_values_the_rare_percentiles_are_the_largest() -> None:
    spread = Percentiles.of([3.0, 1.0, 2.0])
    assert (spread.count, spread.p50, spread.p99, spread.p999, spread.most) == (3, 2.0, 3.0, 3.0, 3.0)


def test_of_none_there_is_none() -> None:
    assert math.isnan(Percentiles.of([]).p50)
