"""What a monitor reads in the text of `Metrics`, and the server's counts as a test wants them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from usert.runtime.monitor.counts import FrameCounts, ServerCounts
from usert.runtime.monitor.gpu_memory import GpuMemory
from usert.runtime.monitor.metrics import Metrics
from usert.runtime.protocol.age import Meter
from usert.runtime.record.recorder import Recorder

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


def note(metrics: Metrics, stream: str = "probe", state: Any = "live", score: float = 0.75) -> None:
    """One image of 40 ms, of a pair that waited 1 ms for the engine, which took 30 ms, and was published 2 ms later."""
    metrics.image(stream=stream, state=state, age_ms=40.0)
    pair: Any = SimpleNamespace(
        current=SimpleNamespace(stream=stream, received_ns=10_000_000),
        started_ns=11_000_000,
        ended_ns=41_000_000,
    )
    metrics.pair(pair, score=score, published_ns=43_000_000)


def counts_of(**changes: Any) -> ServerCounts:
    """Counts that are 0 but for `changes`, of frames or of the server."""
    frames = dict.fromkeys((field.name for field in fields(FrameCounts)), 0)
    frames |= {name: changes.pop(name) for name in frames if name in changes}
    server = dict.fromkeys(("unpaired", "published", "missed_deadlines"), 0)
    return ServerCounts(
        **({"frames": FrameCounts(**frames), "malformed": {}, "failed": {}} | server | changes)
    )


class Running:
    """The engine of a server, as a monitor sees it."""

    def __init__(self, engine: str = CPU, bundle: str = "/b", weights_hash: str = "abc") -> None:
        self.engine: Any = SimpleNamespace(name=engine)
        self.bundle = Path(bundle)
        self.weights_hash = weights_hash


class Server:
    """A server, as a monitor sees it, with the counts that a test gives."""

    def __init__(
        self,
        *counts: ServerCounts,
        engine: str = CPU,
        recorder: Recorder | None = None,
        frozen_streams: int = 0,
    ) -> None:
        """`counts`: those of one reading after the other, the last one for ever; none: all are 0."""
        self._counts = list(counts or (counts_of(),))
        self.readings = 0
        self.engine = Running(engine)
        self.output = Meter().read(0)
        self.recorder = recorder
        self.frozen_streams = frozen_streams

    @property
    def counts(self) -> ServerCounts:
        self.readings += 1
        return self._counts.pop(0) if len(self._counts) > 1 else self._counts[0]


def watching(server: Server, gpus: Callable[[], Sequence[GpuMemory]] = tuple) -> Metrics:
    """Metrics with the counts of `server`."""
    metrics = Metrics()
    metrics.watch(server, gpus)
    return metrics
