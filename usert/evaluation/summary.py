"""Summaries of results: a row a pair and method, and mean and spread of each method, with the best marked.

Invariant: values that print alike are equally good, and NaN is never best.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .evaluate import Result
from .figures import HIGH, NEAR_TRUTH, TRUE_SR, Figures, better
from .markdown import cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One figure of one method over the pairs of a table."""

    mean: float
    deviation: float
    """Standard deviation over the pairs; 0 for a single one."""
    best_on: int
    """Pairs on which no other method was better; 0 where better has no meaning."""
    pairs: int
    """Pairs that have this figure."""
    best: bool
    """Whether no other method has a better mean."""


def averaged(results: Sequence[Result]) -> list[dict[str, str | float]]:
    """Rows of figures, one for each pair and method; pairs of one name are averaged."""
    rows: dict[tuple[str, str], list[Figures]] = {}
    for result in results:
        rows.setdefault((result.pair, result.method), []).append(result.figures)
    return [
        {"pair": pair, "method": method}
        | {
            name: float(np.mean([figures[name] for figures in found if name in figures]))
            for name in dict.fromkeys(name for figures in found for name in figures)
        }
        for (pair, method), found in rows.items()
    ]


def summary(results: Sequence[Result]) -> dict[str, dict[str, Spread]]:
    """The spread of each figure and method: by figure, then by method."""
    methods = list(dict.fromkeys(result.method for result in results))
    figures = list(dict.fromkeys(name for result in results for name in result.figures))
    by_method = {m: [result.figures for result in results if result.method == m] for m in methods}
    table = {}
    for name in figures:
        # the same pairs for every method, in one order
        values = {m: [found[name] for found in by_method[m] if name in found] for m in methods}
        truths = [found.get(TRUE_SR, math.nan) for found in by_method[methods[0]] if name in found]
        means = {m: float(np.mean(values[m])) for m in methods}
        best = best_of(name, means, float(np.mean(truths)))
        counts = dict.fromkeys(methods, 0)
        for k, truth in enumerate(truths):
            for m in best_of(name, {m: values[m][k] for m in methods}, truth):
                counts[m] += 1
        table[name] = {
            m: Spread(
                mean=means[m],
                deviation=_deviation(values[m]),
                best_on=counts[m],
                pairs=len(values[m]),
                best=m in best,
            )
            for m in methods
        }
    return table


def _deviation(values: Sequence[float]) -> float:
    """Standard deviation; NaN where a value is infinite, such as the contrast of a strain without noise."""
    return float(np.std(values)) if np.isfinite(values).all() else math.nan


def best_of(figure: str, values: Mapping[str, float], truth: float = math.nan) -> set[str]:
    """Names of the methods with the best of `values`; `truth` is the true value of a figure that has one.

    Empty where no value of `figure` is better than another or fewer than two methods can be compared.
    """
    direction = better(figure)
    known = {name: value for name, value in values.items() if not math.isnan(value)}
    if direction is None or len(values) < 2 or not known or (direction == NEAR_TRUTH and math.isnan(truth)):
        return set()
    if direction == NEAR_TRUTH:
        costs = {name: abs(value - truth) for name, value in known.items()}
    else:
        costs = {name: -value if direction == HIGH else value for name, value in known.items()}
    winner = min(costs, key=costs.__getitem__)
    return {name for name, value in known.items() if cell(value) == cell(known[winner])}
