"""What the server counts anyway, as Prometheus metrics, read when somebody asks.

Knows who counts, not who asks. Invariant: costs nothing while nobody asks, and shows the very numbers that the server,
its recorder and its summary know. One exception: a frame counted as lost may still come, late, and the server takes it
back; to Prometheus a counter that falls has begun anew, so here it waits until the count has caught up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from usert.log_format import printable

from ..protocol.age import Readings
from .counts import ServerCounts
from .gpu_memory import GpuMemory, gpu_memory

if TYPE_CHECKING:
    from ..record.recorder import Recorder

_GPU_ENGINE = re.compile("cuda|tensorrt", re.IGNORECASE)
"""In the name of an engine that runs on a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the numbers are read; every call may come from any thread."""

    counts: Callable[[], ServerCounts]
    output: Callable[[], Readings]
    """Rate and ages of the images."""
    engine: Callable[[], str]
    """Name of the engine that runs now: the best one may give way to another."""
    about: Callable[[], Mapping[str, str]]
    """What else runs now: version, bundle, hash of the weights; label names and their values."""
    recorder: Callable[[], Recorder | None] = lambda: None
    """The one that is open now."""
    frozen: Callable[[], int] | None = None
    """How many streams a person has frozen; None: this server cannot freeze."""
    gpus: Callable[[], Sequence[GpuMemory]] = gpu_memory
    """Asked only while the engine runs on a GPU."""


class Census(Collector):
    """Collects from `Sources`, anew each time."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._most_lost = 0

    def collect(self) -> Iterator[Metric]:
        sources = self._sources
        engine = sources.engine()
        yield _info({**sources.about(), "engine": engine})
        counts = sources.counts()
        self._most_lost = max(self._most_lost, counts.frames.lost)
        yield from _served(counts, sources.output(), lost=self._most_lost)
        if sources.frozen is not None:
            yield GaugeMetricFamily(
                "usert_streams_frozen", "Streams that somebody has frozen.", sources.frozen()
            )
        if (recorder := sources.recorder()) is not None:
            yield from _recorded(recorder)
        if _GPU_ENGINE.search(engine):
            yield from _gpu(sources.gpus())


def _info(about: Mapping[str, str]) -> Metric:
    values = {name: printable(value) for name, value in about.items()}
    return InfoMetricFamily("usert_server", "What runs: version, engine, weights, bundle.", values)


def _served(counts: ServerCounts, output: Readings, *, lost: int) -> Iterator[Metric]:
    frames = counts.frames
    yield CounterMetricFamily("usert_frames_received", "Well-formed RF frames.", frames.received)
    yield _counter(
        "usert_frames_dropped",
        "Frames that no pair was made of, by reason; lost: missing in the sequence numbers.",
        ("reason",),
        {
            ("newer_frame",): frames.dropped,
            ("lost",): lost,
            ("duplicate",): frames.duplicates,
            ("late",): frames.late,
            ("turned_away",): frames.turned_away,
            ("unpaired",): counts.unpaired,
        },
    )
    yield _counter(
        "usert_pairs_failed",
        "Pairs that the engine refused or failed at, by error.",
        ("error",),
        {(error,): count for error, count in counts.failed.items()},
    )
    yield _counter(
        "usert_messages_malformed",
        "Messages that broke the protocol, by fault.",
        ("fault",),
        {(fault,): count for fault, count in counts.malformed.items()},
    )
    yield CounterMetricFamily("usert_sessions", "Sessions begun.", frames.sessions)
    yield GaugeMetricFamily("usert_streams", "Streams served.", frames.sources)
    yield CounterMetricFamily("usert_clock_jumps", "Jumps of a source's clock.", frames.clock_jumps)
    yield CounterMetricFamily(
        "usert_deadlines_missed", "Images later than they may be.", counts.missed_deadlines
    )
    yield CounterMetricFamily("usert_images_published", "Strain images.", counts.published)
    yield GaugeMetricFamily("usert_image_rate_hertz", "Images a second, over the last 2 s.", output.rate_hz)
    exact = float(output.ages_exact)
    yield GaugeMetricFamily("usert_image_ages_exact", "0: some ages of images are lower bounds.", exact)


def _recorded(recorder: Recorder) -> Iterator[Metric]:
    stats = recorder.stats
    kept = {"frame": stats.frames, "image": stats.images}
    yield _counter(
        "usert_recorder_received",
        "Handed to the recorder.",
        ("what",),
        {(what,): counts.received for what, counts in kept.items()},
    )
    yield _counter(
        "usert_recorder_recorded",
        "Written.",
        ("what",),
        {(what,): counts.recorded for what, counts in kept.items()},
    )
    yield _counter(
        "usert_recorder_missing",
        "Not written, by reason.",
        ("what", "reason"),
        {
            (what, reason.replace(" ", "_")): count
            for what, counts in kept.items()
            for reason, count in counts.missing.items()
        },
    )
    waiting = float(recorder.held_bytes)
    yield GaugeMetricFamily("usert_recorder_waiting_bytes", "Of what waits to be written.", waiting)


def _gpu(gpus: Sequence[GpuMemory]) -> Iterator[Metric]:
    used = GaugeMetricFamily(
        "usert_gpu_memory_used_bytes", "In use on the GPU, by all processes.", labels=["gpu"]
    )
    total = GaugeMetricFamily("usert_gpu_memory_total_bytes", "That the GPU has.", labels=["gpu"])
    for memory in gpus:
        used.add_metric([str(memory.gpu)], memory.used_bytes)
        total.add_metric([str(memory.gpu)], memory.total_bytes)
    yield from (used, total)


def _counter(
    name: str, text: str, labels: Sequence[str], counts: Mapping[tuple[str, ...], int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in counts.items():
        family.add_metric([printable(value) for value in values], count)
    return family
