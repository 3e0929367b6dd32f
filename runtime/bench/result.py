"""The result of one variant, the row of plain figures that is shown of it, and the report of all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..protocol.age import nearest_rank
from .accuracy import Accuracy
from .critical_rate import CriticalRate, late_share
from .roofline import Cost, Rates
from .worker import Memory, Opened, Variant
from .workload import Measurement, Workload

Row = dict[str, Any]
_PERCENTILES = {"p50_ms": "p50", "p90_ms": "p90", "p99_ms": "p99", "p999_ms": "p999", "max_ms": "most"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Percentiles of one set of values, each of which occurred; the largest where they are too few; NaN of none."""

    count: int
    p50: float
    p90: float
    p99: float
    p999: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Percentiles:
        """The percentiles of `values`."""
        ordered = sorted(values)
        return cls(
            count=len(ordered),
            p50=nearest_rank(ordered, 0.5),
            p90=nearest_rank(ordered, 0.9),
            p99=nearest_rank(ordered, 0.99),
            p999=nearest_rank(ordered, 0.999),
            most=nearest_rank(ordered, 1.0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything measured of one variant."""

    variant: Variant
    opened: Opened | None = None
    measurements: Sequence[Measurement] = ()
    memory: Memory | None = None
    critical: CriticalRate | None = None
    accuracy: Accuracy | None = None
    cost: Cost | None = None
    rates: Rates | None = None
    """Peak rates of the device that it ran on; None: not measured."""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a benchmark measured."""

    mode: str
    machine: dict[str, Any]
    rates: Rates
    """Peak rates of the CPU."""
    rows: list[Row]
    absent: dict[str, str]
    """Reasons, by engine or engine and precision, for what was not timed."""
    notes: list[str]
    """Remarks that belong to the rows."""


def to_row(result: Result, workload: Workload, *, wire: bool) -> Row:
    """The figures of `result`, whose measurements ran `workload`, always under the same keys; None: not measured.

    Those of a critical rate are of the run that confirmed it.
    """
    variant, error = result.variant, result.error
    if result.critical is not None:
        workload = replace(workload, rate_hz=result.critical.rate_hz)
    measurements = result.measurements if error is None else ()
    latency = Percentiles.of(ms for m in measurements for ms in m.latency_ms)
    engine = Percentiles.of(ms for m in measurements for ms in m.engine_ms)
    leads = Percentiles.of(m.lead_ms for m in measurements)
    seconds = sum(m.seconds for m in measurements)
    done = sum(m.done for m in measurements)
    waits = queue(measurements, workload)
    dropped = None if waits is None else sum(m.dropped for m in measurements)
    followed = [m.followed for m in measurements if m.followed is not None]
    used = [m.cpu_s for m in measurements if m.cpu_s is not None]
    opened, memory, accuracy = result.opened, result.memory, result.accuracy
    difference = None if accuracy is None else accuracy.difference
    row: Row = {
        "bundle": str(variant.bundle),
        "shape": variant.frames or None,
        "engine": variant.engine,
        "precision": variant.precision,
        "threads": variant.threads,
        "at_once": None if result.opened is None else result.opened.at_once,
        "follow": variant.follow,
        "runs_on": None if opened is None else opened.runs_on,
        "mode": mode(workload, wire=wire),
        "rate_hz": workload.rate_hz,
        "error": error,
        "frames": latency.count,
        "frames_per_s": latency.count / seconds if seconds else None,
    }
    row |= {key: getattr(latency, name) if measurements else None for key, name in _PERCENTILES.items()}
    row |= {
        "engine_p50_ms": engine.p50 if measurements else None,
        "queue": waits,
        "dropped": dropped,
        "dropped_share": None if dropped is None else dropped / (dropped + done),
        "waited_more_ms": None if waits is None else max(m.grown_ms for m in measurements),
        "followed_share": sum(followed) / done if followed else None,
        **_critical(result.critical),
        "after_pause_p50_ms": leads.p50 if measurements and workload.pause_s else None,
        "after_pause_max_ms": leads.most if measurements and workload.pause_s else None,
        "warm_up_s": None if opened is None else opened.warm_up_s,
        "first_ms": None if opened is None else opened.first_ms,
        "cpu_ms": 1e3 * sum(used) / done if used else None,
        "rss_mb": None if memory is None else memory.rss_mb,
        "gpu_mb": None if memory is None else memory.gpu_mb,
        "displacement_rms_samples": None if difference is None else difference.rms_displacement_samples,
        "strain_rms_percent": None if difference is None else difference.rms_strain_percent,
        "truth_rms_samples": None if accuracy is None else accuracy.truth_samples,
    }
    row |= _roofline(result, engine.p50 if measurements else None)
    names = measurements[0].stages_ms if measurements else {}
    stages = {
        name: Percentiles.of(ms for m in measurements for ms in m.stages_ms.get(name, ())) for name in names
    }
    row["stages_ms"] = {name: {"p50": spread.p50, "p99": spread.p99} for name, spread in stages.items()}
    return row


def mode(workload: Workload, *, wire: bool, critical: bool = False) -> str:
    """The mode of the run, in words; `critical`: at critical rates."""
    where = "over sockets, " if wire else ""
    if workload.rate_hz is None:
        how = "at the scanner's rate" if wire else "closed loop"
    else:
        rate = "at the critical rate" if critical else f"{workload.rate_hz:g} frames/s"
        how = f"{rate}, {'every frame' if workload.every_frame else 'newest wins'}"
    return where + how + (f", pauses of {workload.pause_s:g} s" if workload.pause_s else "")


def queue(measurements: Sequence[Measurement], workload: Workload) -> str | None:
    """State of the queue: `keeps up`, `drops` or `grows`; None in a closed loop."""
    if not measurements or (workload.rate_hz is None and not measurements[0].stages_ms):
        return None
    if 2 * sum(m.grows for m in measurements) > len(measurements):
        return "grows"
    return "drops" if any(m.dropped for m in measurements) else "keeps up"


def _critical(found: CriticalRate | None) -> Row:
    run = None if found is None else found.run
    memory = () if run is None else run.rss_mb
    return {
        "held_hz": found.rate_hz if found is not None and found.held else None,
        "held_s": None if run is None else run.seconds,
        "limit_ms": None if found is None else found.limit_ms,
        "late_share": None if found is None or run is None else late_share(run, found.limit_ms),
        "threshold_hz": None if found is None else found.threshold.hz,
        "threshold_low_hz": None if found is None else found.threshold.low_hz,
        "threshold_high_hz": None if found is None else found.threshold.high_hz,
        "search_fault": None if found is None else found.fault,
        "trials": None if found is None else found.threshold.trials,
        "trial_s": None if found is None else found.trial_s,
        "rss_begin_mb": memory[0] if memory else None,
        "rss_end_mb": memory[-1] if memory else None,
        "rss_mb_per_min": None if found is None else found.rss_mb_per_min,
    }


def _roofline(result: Result, engine_ms: float | None) -> Row:
    cost, rates = result.cost, result.rates
    # a graph without layers has no floor
    floor_ms = None if cost is None or rates is None else cost.floor_ms(rates) or None
    return {
        "gflop": None if cost is None else cost.flops / 1e9,
        "graph_mb": None if cost is None else cost.bytes / 1e6,
        "floor_ms": floor_ms,
        "floor_by": None if cost is None or rates is None else cost.bound(rates),
        "times_floor": None if floor_ms is None or engine_ms is None else engine_ms / floor_ms,
    }
