"""The server's own counts as Prometheus metrics, read when they are scraped.

Invariant: costs nothing between scrapes, and shows the numbers that server, recorder and summary have. One exception:
a frame that was counted as lost may still arrive, late, and is then no longer counted. Prometheus takes a counter that
falls for a restart, so the metric stands still until the count has caught up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from usert import __version__
from usert.log_format import printable

from ..protocol.age import Readings
from .counts import ServerCounts
from .gpu_memory import GpuMemory

if TYPE_CHECKING:
    from ..engines.interface import Engine
    from ..record.recorder import Recorder

_GPU_ENGINE = re.compile("cuda|tensorrt", re.IGNORECASE)
"""Found in the name of an engine that runs on a GPU."""


class RunningEngine(Protocol):
    """The engine that runs at this moment; a better one, or another bundle, may replace it."""

    @property
    def engine(self) -> Engine: ...
    @property
    def bundle(self) -> Path | None: ...
    @property
    def weights_hash(self) -> str: ...


class Watched(Protocol):
    """A live server as the collector reads it, at any time and from any thread."""

    @property
    def counts(self) -> ServerCounts: ...
    @property
    def output(self) -> Readings:
        """Rate and ages of the images."""

    @property
    def engine(self) -> RunningEngine: ...
    @property
    def recorder(self) -> Recorder | None:
        """The recorder that is open now."""

    @property
    def frozen_streams(self) -> int: ...


class ServerCollector(Collector):
    """Reads the counts of a server each time when metrics are collected."""

    def __init__(self, server: Watched, gpus: Callable[[], Sequence[GpuMemory]]) -> None:
        """`gpus` is called only while the engine runs on a GPU."""
        self._server = server
        self._gpus = gpus
        self._most_lost = 0

    def collect(self) -> Iterator[Metric]:
        """All metrics with their values at this moment."""
        server = self._server
        yield _info(server.engine)
        counts = server.counts
        self._most_lost = max(self._most_lost, counts.frames.lost)
        yield from _served(counts, server.output, lost=self._most_lost)
        yield GaugeMetricFamily("usert_streams_frozen", "Streams that are frozen.", server.frozen_streams)
        if (recorder := server.recorder) is not None:
            yield from _recorded(recorder)
        if _GPU_ENGINE.search(server.engine.engine.name):
            yield from _gpu(self._gpus())


def _info(running: RunningEngine) -> Metric:
    values = {
        "version": __version__,
        "engine": running.engine.name,
        "bundle": str(running.bundle),
        "weights_sha256": running.weights_hash,
    }
    values = {name: printable(value) for name, value in values.items()}
    return InfoMetricFamily("usert_server", "Version, engine, bundle and weights that run now.", values)


def _served(counts: ServerCounts, output: Readings, *, lost: int) -> Iterator[Metric]:
    frames = counts.frames
    yield CounterMetricFamily("usert_frames_received", "Well-formed RF frames.", frames.received)
    yield _counter(
        "usert_frames_dropped",
        "Frames of which no pair was made, by reason; lost: missing in the sequence numbers.",
        "reason",
        {
            "newer_frame": frames.dropped,
            "lost": lost,
            "duplicate": frames.duplicates,
            "late": frames.late,
            "rejected": frames.rejected,
            "unpaired": counts.unpaired,
        },
    )
    yield _counter(
        "usert_pairs_failed", "Pairs that the engine rejected or failed at, by error.", "error", counts.failed
    )
    yield _counter(
        "usert_messages_malformed", "Messages that violate the protocol, by fault.", "fault", counts.malformed
    )
    yield CounterMetricFamily("usert_sessions", "Sessions that have begun.", frames.sessions)
    yield GaugeMetricFamily("usert_streams", "Streams that are served now.", frames.sources)
    yield CounterMetricFamily("usert_clock_jumps", "Jumps of a source's clock.", frames.clock_jumps)
    yield CounterMetricFamily(
        "usert_deadlines_missed",
        "Live images that were published after their deadline.",
        counts.missed_deadlines,
    )
    yield CounterMetricFamily("usert_images_published", "Strain images published.", counts.published)
    yield GaugeMetricFamily("usert_image_rate_hertz", "Images per second over the last 2 s.", output.rate_hz)
    exact = float(output.ages_exact)
    yield GaugeMetricFamily("usert_image_ages_exact", "0: some ages of images are lower bounds only.", exact)


def _recorded(recorder: Recorder) -> Iterator[Metric]:
    stats = recorder.stats
    kept = {"frame": stats.frames, "image": stats.images}
    received = {what: counts.received for what, counts in kept.items()}
    yield _counter("usert_recorder_received", "Frames and images handed to the recorder.", "what", received)
    recorded = {what: counts.recorded for what, counts in kept.items()}
    yield _counter("usert_recorder_recorded", "Frames and images written.", "what", recorded)
    missing = CounterMetricFamily(
        "usert_recorder_missing", "Frames and images not written, by reason.", labels=("what", "reason")
    )
    for what, counts in kept.items():
        for reason, count in counts.missing.items():
            missing.add_metric((what, reason.replace(" ", "_")), count)
    yield missing
    waiting = float(recorder.held_bytes)
    yield GaugeMetricFamily("usert_recorder_waiting_bytes", "Size of what waits to be written.", waiting)


def _gpu(gpus: Sequence[GpuMemory]) -> Iterator[Metric]:
    for name, text in (
        ("used", "Memory of the GPU in use by all processes."),
        ("total", "Memory that the GPU has."),
    ):
        family = GaugeMetricFamily(f"usert_gpu_memory_{name}_bytes", text, labels=["gpu"])
        for memory in gpus:
            family.add_metric([str(memory.gpu)], getattr(memory, f"{name}_bytes"))
        yield family


def _counter(name: str, text: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([printable(value)], count)
    return family
