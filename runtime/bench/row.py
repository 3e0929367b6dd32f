"""One row of a benchmark's table: all that was measured of one variant, as plain figures.

Knows turns, costs and distances; prints nothing. Invariant: a row has the same keys whatever was measured; what was not
is None, and a variant that failed has no times, only its `error`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .answer import Distance
from .roofline import Cost, Rates
from .spread import Spread
from .turn import Order, Turn
from .worker import Opened, Variant, Vitals

Row = dict[str, Any]
_PERCENTILES = {"p50_ms": "p50", "p90_ms": "p90", "p99_ms": "p99", "p999_ms": "p999", "max_ms": "most"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Of an answer that passed."""

    apart: Distance | None
    """From the first bundle's float32 graph; None: there is none."""
    truth_samples: float | None
    """Rms error of the axial displacement; None: the frames are not simulated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What is known of a variant when all turns are done."""

    variant: Variant
    opened: Opened | None = None
    turns: Sequence[Turn] = ()
    vitals: Vitals | None = None
    accuracy: Accuracy | None = None
    cost: Cost | None = None
    rates: Rates | None = None
    """Of the device that it ran on; None: not measured."""
    error: str | None = None


def row_of(result: Result, order: Order, *, wire: bool) -> Row:
    """The figures of `result`, whose turns were `order`."""
    turns, error, variant = (result.turns if result.error is None else ()), result.error, result.variant
    latency = Spread.of(ms for turn in turns for ms in turn.latency_ms)
    engine = Spread.of(ms for turn in turns for ms in turn.engine_ms)
    leads = Spread.of(turn.lead_ms for turn in turns)
    seconds = sum(turn.seconds for turn in turns)
    done = sum(turn.done for turn in turns)
    waits = queue(turns, order)
    dropped = None if waits is None else sum(turn.dropped for turn in turns)
    used = [turn.cpu_s for turn in turns if turn.cpu_s is not None]
    opened, vitals, accuracy = result.opened, result.vitals, result.accuracy
    apart = None if accuracy is None else accuracy.apart
    row: Row = {
        "bundle": str(variant.bundle),
        "shape": None if variant.shape is None else f"{variant.shape[0]}x{variant.shape[1]}",
        "engine": variant.engine,
        "precision": variant.precision,
        "threads": variant.threads,
        "runs_on": None if opened is None else opened.runs_on,
        "mode": mode(order, wire=wire),
        "error": error,
        "frames": latency.count,
        "frames_per_s": latency.count / seconds if seconds else None,
    }
    row |= {key: getattr(latency, name) if turns else None for key, name in _PERCENTILES.items()}
    row |= {
        "engine_p50_ms": engine.p50 if turns else None,
        "queue": waits,
        "dropped": dropped,
        "dropped_share": None if dropped is None else dropped / (dropped + done),
        "waited_more_ms": None if waits is None else max(turn.grown_ms for turn in turns),
        "after_pause_p50_ms": leads.p50 if turns and order.pause_s else None,
        "after_pause_max_ms": leads.most if turns and order.pause_s else None,
        "warm_up_s": None if opened is None else opened.warm_up_s,
        "first_ms": None if opened is None else opened.first_ms,
        "cpu_ms": 1e3 * sum(used) / done if used else None,
        "rss_mb": None if vitals is None else vitals.rss_mb,
        "gpu_mb": None if vitals is None else vitals.gpu_mb,
        "displacement_rms_samples": None if apart is None else apart.rms_displacement_samples,
        "strain_rms_percent": None if apart is None else apart.rms_strain_percent,
        "truth_rms_samples": None if accuracy is None else accuracy.truth_samples,
    }
    row |= _roofline(result, engine.p50 if turns else None)
    names = turns[0].stages_ms if turns else {}
    stages = {name: Spread.of(ms for turn in turns for ms in turn.stages_ms.get(name, ())) for name in names}
    row["stages_ms"] = {name: {"p50": spread.p50, "p99": spread.p99} for name, spread in stages.items()}
    return row


def mode(order: Order, *, wire: bool) -> str:
    """In words."""
    where = "over sockets, " if wire else ""
    if order.rate_hz is None:
        how = "at the scanner's rate" if wire else "closed loop"
    else:
        how = f"{order.rate_hz:g} frames/s, {'every frame' if order.every_frame else 'newest wins'}"
    return where + how + (f", pauses of {order.pause_s:g} s" if order.pause_s else "")


def queue(turns: Sequence[Turn], order: Order) -> str | None:
    """What became of the frames that waited: `keeps up`, `drops`, `grows`; None where the next waits for the last."""
    if not turns or (order.rate_hz is None and not turns[0].stages_ms):
        return None
    if 2 * sum(turn.grows for turn in turns) > len(turns):
        return "grows"
    return "drops" if any(turn.dropped for turn in turns) else "keeps up"


def _roofline(result: Result, engine_ms: float | None) -> Row:
    cost, rates = result.cost, result.rates
    floor_ms = (
        None if cost is None or rates is None else cost.floor_ms(rates) or None
    )  # one without layers has none
    return {
        "gflop": None if cost is None else cost.flops / 1e9,
        "graph_mb": None if cost is None else cost.bytes / 1e6,
        "floor_ms": floor_ms,
        "floor_by": None if cost is None or rates is None else cost.bound(rates),
        "times_floor": None if floor_ms is None or engine_ms is None else engine_ms / floor_ms,
    }
