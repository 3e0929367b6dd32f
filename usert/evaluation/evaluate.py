"""The loop of `usert eval`: every method on every pair of a plan.

Invariant: one pair at a time is in memory; only its figures and drawings are kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from usert.errors import FrameError
from usert.runtime.engines.int16 import to_int16
from usert.runtime.offline.pairs import LeftOut, describe_left_out

from .drawing import Drawing, draw_pair
from .figures import CPU_S, Figures, Measured, doubling, measure
from .methods import Method
from .pair import Image
from .plan import PlannedPair, PlannedTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Figures of one method on one pair."""

    table: str
    pair: str
    method: str
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedTable:
    """Results of all methods on the pairs of a table."""

    title: str
    pairs: tuple[PlannedPair, ...]
    results: tuple[Result, ...]
    """Results pair by pair, in the order of the methods."""
    drawings: tuple[Drawing, ...]
    """Drawings of the first pair of each name."""
    left_out: tuple[str, ...] = ()
    """A line on each recording of which pairs were left out, because a frame holds no RF signal."""


def evaluate(
    tables: Sequence[PlannedTable],
    methods: Sequence[Method],
    *,
    default_window: int,
    observe: Callable[[Result], None] = lambda result: None,
) -> tuple[EvaluatedTable, ...]:
    """Run all methods on all pairs of `tables`; `observe` is called with each result.

    `default_window` is the strain window in samples for pairs that set none. A pair with a blank, constant or not
    finite frame is left out, and named in its table. Every pair must have passed its `check`. Errors: those of
    recordings and methods; `FrameError` where no pair is left.
    """
    evaluated = tuple(_table(table, methods, default_window, observe) for table in tables)
    if not any(table.pairs for table in evaluated):
        raise FrameError("; ".join(line for table in evaluated for line in table.left_out))
    return evaluated


def _table(
    table: PlannedTable,
    methods: Sequence[Method],
    default_window: int,
    observe: Callable[[Result], None],
) -> EvaluatedTable:
    results: list[Result] = []
    drawings: dict[str, Drawing] = {}
    halves = {pair.twice for pair in table.pairs}
    kept: dict[tuple[str, str], Image] = {}
    evaluated: list[PlannedPair] = []
    left_out: dict[str, list[LeftOut]] = {}
    for planned in table.pairs:
        try:
            pair = planned.load(default_window)
            to_int16(pair.pre, pair.post)  # as every engine does, and classical methods do not
        except FrameError as error:
            left_out.setdefault(planned.recording, []).append(LeftOut.of(planned.frames, error))
            continue
        evaluated.append(replace(planned, strain_window_samples=pair.strain_window))
        measured: dict[str, Measured] = {}
        for method in methods:
            method.warm_up((pair.pre.shape[0], pair.pre.shape[1]), pair.scan)
            start = time.process_time()
            d = method.estimate(pair.pre, pair.post, pair.scan)
            elapsed = time.process_time() - start
            measured[method.name] = found = measure(pair, d)
            figures = {CPU_S: elapsed} | found.figures
            if pair.twice is not None and (pair.twice, method.name) in kept:
                figures |= doubling(pair, d, kept[pair.twice, method.name])
            if pair.name in halves:
                kept[pair.name, method.name] = d
            results.append(Result(table=table.title, pair=pair.name, method=method.name, figures=figures))
            observe(results[-1])
        if pair.name not in drawings:
            drawings[pair.name] = draw_pair(pair, measured)
    return EvaluatedTable(
        title=table.title,
        pairs=tuple(evaluated),
        results=tuple(results),
        drawings=tuple(drawings.values()),
        left_out=tuple(f"{path}: left out {describe_left_out(pairs)}" for path, pairs in left_out.items()),
    )
