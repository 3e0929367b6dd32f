"""What a monitor reads in the text of `Metrics`, and the server's counts as a test wants them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from usert.runtime.monitor.census import Sources
from usert.runtime.monitor.counts import FrameCounts, ServerCounts
from usert.runtime.monitor.metrics import Metrics
from usert.runtime.protocol.age import Meter

CPU = "onnxruntime CPUExecutionProvider"


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """By name and the values of the labels in the order of their names, as Prometheus would read it."""
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(metrics.text().decode("utf-8")):
        for sample in family.samples:
            key = (sample.name, *(sample.labels[name] for name in sorted(sample.labels)))
            assert key not in found, "a series is there twice"
            found[key] = sample.value
    return found


def names(metrics: Metrics) -> set[str]:
    return {key[0] for key in samples(metrics)}


def note(metrics: Metrics, stream: str = "probe", state: Any = "live", **changes: Any) -> None:
    """One image of 40 ms, of a pair that waited 1 ms for the engine, which took 30 ms, and was published 2 ms later."""
    metrics.image(stream=stream, state=state, age_ms=40.0)
    times = {
        "score": 0.75,
        "received_ns": 10_000_000,
        "started_ns": 11_000_000,
        "estimated_ns": 41_000_000,
        "published_ns": 43_000_000,
    }
    metrics.pair(stream=stream, **(times | changes))


def counts_of(**changes: Any) -> ServerCounts:
    """Counts that are 0 but for `changes`, of frames or of the server."""
    frames = dict.fromkeys((field.name for field in fields(FrameCounts)), 0)
    frames |= {name: changes.pop(name) for name in frames if name in changes}
    server = dict.fromkeys(("unpaired", "published", "missed_deadlines"), 0)
    return ServerCounts(
        **({"frames": FrameCounts(**frames), "malformed": {}, "failed": {}} | server | changes)
    )


def sources(**changes: Any) -> Sources:
    read: dict[str, Any] = {
        "counts": counts_of,
        "output": lambda: Meter().read(0),
        "engine": lambda: CPU,
        "about": lambda: {"version": "1"},
    }
    return Sources(**(read | changes))
