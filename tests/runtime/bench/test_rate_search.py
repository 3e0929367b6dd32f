"""The search finds a known threshold from trials that lie, and says where it cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest

from usert.runtime.bench.rate_search import NARROW, PROBABILITY, RateSearch, Threshold

LOWEST, HIGHEST, TRIALS = 2.0, 64.0, 30


def search(
    threshold_hz: float, *, spread: float = 0.0, hiccup: float = 0.0, luck: float = 0.0, seed: int = 0
) -> Threshold:
    """The result where trials are held as a machine of that threshold holds them."""
    rng, found = np.random.default_rng(seed), RateSearch(LOWEST, HIGHEST, trials=TRIALS)
    while not found.decided:
        rate_hz = found.next_hz
        assert LOWEST <= rate_hz <= HIGHEST
        margin = math.log(threshold_hz / rate_hz)
        held = 1 / (1 + math.exp(-min(max(margin / spread, -50), 50))) if spread else float(margin >= 0)
        found.add(rate_hz, rng.random() < luck + (1 - luck - hiccup) * held)
    return found.threshold


@pytest.mark.parametrize("hiccup", [0.0, 0.1])
@pytest.mark.parametrize("spread", [0.0, 0.03, 0.1])
def test_the_threshold_lies_in_the_interval_as_often_as_stated(spread: float, hiccup: float) -> None:
    runs, hits, trials = 100, 0, []
    for seed in range(runs):
        truth = math.exp(np.random.default_rng([seed, 1]).uniform(math.log(2.5), math.log(50)))
        found = search(truth, spread=spread, hiccup=hiccup, luck=hiccup / 10, seed=seed)
        hits += (found.low_hz or 0) <= truth <= (found.high_hz or math.inf)
        trials.append(found.trials)
    chance = math.sqrt(PROBABILITY * (1 - PROBABILITY) * runs)
    assert hits >= PROBABILITY * runs - 2 * chance
    assert max(trials) <= TRIALS


def test_without_noise_the_interval_is_narrow_after_few_trials() -> None:
    for truth in (2.5, 7.0, 20.0, 55.0):
        found = search(truth)
        assert found.low_hz is not None
        assert found.high_hz is not None
        assert found.low_hz <= truth <= found.high_hz <= NARROW * found.low_hz
        assert found.low_hz <= found.hz <= found.high_hz
        assert found.trials <= 20


def test_beyond_the_ends_it_says_so_after_few_trials() -> None:
    fast, slow = search(1000.0), search(0.1)
    assert (fast.low_hz, fast.hz, fast.high_hz) == (HIGHEST, HIGHEST, None)
    assert (slow.low_hz, slow.hz, slow.high_hz) == (None, LOWEST, LOWEST)
    assert max(fast.trials, slow.trials) <= 15


def test_a_hiccup_does_not_rule_out_the_rates_above_it() -> None:
    found = RateSearch(LOWEST, HIGHEST, trials=TRIALS)
    found.add(3.0, False)
    while not found.decided:
        found.add(found.next_hz, found.next_hz <= 30.0)
    threshold = found.threshold
    assert threshold.low_hz is not None
    assert threshold.low_hz <= 30.0 <= (threshold.high_hz or math.inf)


def test_a_search_whose_trials_are_used_up_has_a_wide_interval() -> None:
    found = RateSearch(LOWEST, HIGHEST, trials=3)
    while not found.decided:
        found.add(found.next_hz, found.next_hz <= 30.0)
    threshold = found.threshold
    assert threshold.trials == 3
    assert (threshold.high_hz or math.inf) > NARROW * (threshold.low_hz or 0)
