"""A search for the highest rate that is held, from trials that are noisy: probabilistic bisection.

It knows neither servers nor frames: it names the next rate to try and is told whether it was held. A trial near the
threshold may go either way, and one far below it may fail by a hiccup of the machine, so no trial rules rates out: each
moves a probability over all thresholds, by Bayes' rule [1]. How fast trials turn from held to not held is unknown and
estimated along with the threshold [2]; trials are placed at the two thirds of the distribution in turn, for trials at
its median alone say little about that [3].

[1] R. Waeber, P. I. Frazier, S. G. Henderson, "Bisection search with noisy responses", SIAM J. Control Optim. 51(3),
    2013; after M. Horstein, IEEE Trans. Inf. Theory 9, 1963.
[2] L. L. Kontsevich, C. W. Tyler, "Bayesian adaptive estimation of psychometric slope and threshold", Vision Res.
    39(16), 1999.
[3] S. Rodriguez, M. Ludkovski, "Generalized probabilistic bisection for stochastic root finding", ACM Trans. Model.
    Comput. Simul. 30(1), 2020 (quantile sampling).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

PROBABILITY = 0.9
"""Probability that the threshold lies in the interval."""
NARROW = 1.15
"""Ratio of the interval's ends at which the search is over."""
_SPREADS = np.array([[0.01], [0.03], [0.1], [0.3]])
"""Widths, in the logarithm of the rate, over which trials turn from held to not held; equally likely at first."""
_HICCUP, _LUCK = 0.1, 0.02
"""Probability that a trial fails far below the threshold, and that one is held far above it."""
_BEYOND = 2.0
"""Thresholds up to this factor beyond the rates that may be tried are possible."""
_STEP = 1.01
"""Ratio of neighbouring thresholds."""
_QUANTILES = 1 / 3, 2 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """The rate at which half of the trials are held, as far as trials tell."""

    hz: float
    """Median of the threshold's distribution, within the rates that may be tried."""
    low_hz: float | None
    """Lower end of the interval of `PROBABILITY`; None: below the lowest rate that may be tried."""
    high_hz: float | None
    """Upper end; None: above the highest rate."""
    trials: int


class RateSearch:
    """`while not search.decided: search.add(search.next_hz, held)`, then `search.threshold`."""

    def __init__(self, lowest_hz: float, highest_hz: float, *, trials: int) -> None:
        """`lowest_hz`, `highest_hz`: the rates that may be tried; `trials`: most trials."""
        self.lowest_hz = lowest_hz
        self.highest_hz = highest_hz
        self._most = trials
        self._trials = 0
        ends = math.log(lowest_hz / _BEYOND), math.log(highest_hz * _BEYOND)
        self._logs = np.linspace(*ends, math.ceil((ends[1] - ends[0]) / math.log(_STEP)) + 1)
        self._likelihood = np.zeros((len(_SPREADS), len(self._logs)))

    @property
    def next_hz(self) -> float:
        """The rate of the next trial."""
        hz = self._quantile(_QUANTILES[self._trials % len(_QUANTILES)])
        return min(max(hz, self.lowest_hz), self.highest_hz)

    def add(self, rate_hz: float, held: bool) -> None:
        """Add the outcome of a trial."""
        above = np.clip((self._logs - math.log(rate_hz)) / _SPREADS, -50, 50)
        probability = _LUCK + (1 - _LUCK - _HICCUP) / (1 + np.exp(-above))
        self._likelihood += np.log(probability if held else 1 - probability)
        self._trials += 1

    @property
    def decided(self) -> bool:
        """Whether the interval is narrow or beyond an end of the rates, or the trials are used up."""
        low, high = self._interval()
        narrow = high <= NARROW * low
        return narrow or low > self.highest_hz or high < self.lowest_hz or self._trials >= self._most

    @property
    def hopeless(self) -> bool:
        """Whether the threshold lies below the lowest rate."""
        return self._interval()[1] < self.lowest_hz

    @property
    def threshold(self) -> Threshold:
        """The threshold as the trials so far tell it."""
        low, high = self._interval()
        return Threshold(
            hz=min(max(self._quantile(0.5), self.lowest_hz), self.highest_hz),
            low_hz=None if low < self.lowest_hz else min(low, self.highest_hz),
            high_hz=None if high > self.highest_hz else max(high, self.lowest_hz),
            trials=self._trials,
        )

    def _interval(self) -> tuple[float, float]:
        return self._quantile((1 - PROBABILITY) / 2), self._quantile((1 + PROBABILITY) / 2)

    def _quantile(self, share: float) -> float:
        weights = np.exp(self._likelihood - self._likelihood.max()).sum(axis=0)
        return math.exp(np.interp(share * weights.sum(), np.cumsum(weights), self._logs))
