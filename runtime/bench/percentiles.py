"""Percentiles of latencies.

Invariant: a percentile is a value that occurred (nearest rank); of too few values to resolve it, such as p99.9 of fewer
than a thousand, it is the largest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..protocol.age import nearest_rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Percentiles of one set of values; NaN where it is empty."""

    count: int
    p50: float
    p90: float
    p99: float
    p999: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Percentiles:
        ordered = sorted(values)
        return cls(
            count=len(ordered),
            p50=nearest_rank(ordered, 0.5),
            p90=nearest_rank(ordered, 0.9),
            p99=nearest_rank(ordered, 0.99),
            p999=nearest_rank(ordered, 0.999),
            most=nearest_rank(ordered, 1.0),
        )
