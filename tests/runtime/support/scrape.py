"""What a monitor reads in the text of `Metrics`, and the server's counts as a test wants them."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from usert.runtime.monitor.census import Sources
from usert.runtime.monitor.metrics import Metrics
from usert.runtime.protocol.age import Meter
from usert.runtime.server.stats import ServerStats

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
    """One image of 40 ms, of a pair that waited 1 ms, was matched at once and took 30 ms and 2 ms."""
    metrics.image(stream=stream, state=state, age_ms=40.0)
    fields = {
        "score": 0.75,
        "received_ns": 10_000_000,
        "matched_ns": 11_000_000,
        "started_ns": 11_000_000,
        "estimated_ns": 41_000_000,
        "published_ns": 43_000_000,
    }
    metrics.pair(stream=stream, **(fields | changes))


def stats_of(**changes: Any) -> ServerStats:
    fields: dict[str, Any] = dict.fromkeys(
        ("received", "dropped", "lost", "sessions", "unpaired", "published"), 0
    )
    return ServerStats(**({"malformed": {}, "failed": {}, "output": Meter().read(0)} | fields | changes))


def sources(**changes: Any) -> Sources:
    return Sources(
        **({"stats": stats_of, "engine": lambda: CPU, "about": lambda: {"version": "1"}} | changes)
    )
