"""Prometheus metrics of a live server: observed image by image, or read from its counts when they are scraped.

Invariant: nothing is shared with another `Metrics` of this process, and the number of time series is bounded, whatever
names the network sends.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from usert.log_format import printable

from ..imaging.estimate import EstimatedPair
from ..imaging.live_or_held import State
from .collector import ServerCollector, Watched
from .gpu_memory import GpuMemory, gpu_memory

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""Content type of `Metrics.text`."""
AGES_S = (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5)
STAGES_S = (1e-4, 2.5e-4, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2)
"""Bounds from publishing an image to running a float32 graph on a small CPU."""
SCORES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
"""Bounds of scores; among them those of `HoldRule` and `ImageQualityRule`."""
MAX_LABELS = 32
"""Each label makes a set of time series, which a monitor keeps for weeks."""
OTHER = "other"
"""Label of all further streams."""


class StreamLabels:
    """Label values of stream names: one for each of the first `most`, for good, and `OTHER`. Thread-safe."""

    def __init__(self, most: int = MAX_LABELS) -> None:
        self._most = most
        self._labels: dict[str, str] = {}
        self._lock = threading.Lock()

    def label(self, stream: str) -> str:
        """The label of `stream`: its name, unprintable characters escaped, or `OTHER`."""
        found = self._labels.get(stream)
        if found is not None:
            return found
        with self._lock:
            if len(self._labels) >= self._most:
                return self._labels.get(stream, OTHER)
            return self._labels.setdefault(stream, printable(stream))


class Metrics:
    """All metrics of one server, which observes its images and pairs here; `watch` adds the server's own counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._streams = StreamLabels()
        self._images = Counter(
            "usert_images", "Strain images published.", ("stream", "state"), registry=self._registry
        )
        self._age = Histogram(
            "usert_image_age_seconds",
            "Age of an image's frame at publication, by the state of the image.",
            ("state",),
            buckets=AGES_S,
            registry=self._registry,
        )
        self._score = Histogram(
            "usert_image_score_ratio",
            "Quality score of a pair, whether or not its image was shown.",
            ("stream",),
            buckets=SCORES,
            registry=self._registry,
        )
        stages = Histogram(
            "usert_stage_seconds",
            "Time a pair took: wait (received to the engine's start), engine (to its end), publish.",
            ("stage",),
            buckets=STAGES_S,
            registry=self._registry,
        )
        self._wait, self._engine, self._publish = map(stages.labels, ("wait", "engine", "publish"))
        ProcessCollector(registry=self._registry)

    def watch(self, server: Watched, gpus: Callable[[], Sequence[GpuMemory]] = gpu_memory) -> None:
        """Add the counts of `server` and, while its engine runs on a GPU, the memory of `gpus`; once."""
        self._registry.register(ServerCollector(server, gpus))

    def image(self, *, stream: str, state: State, age_ms: float) -> None:
        """Observe an image that is published, `age_ms` after its frame was acquired; for any thread."""
        self._images.labels(self._streams.label(stream), state).inc()
        _observe(self._age.labels(state), age_ms / 1e3)

    def pair(self, pair: EstimatedPair, *, score: float, published_ns: int) -> None:
        """Observe a pair when its image, or an older one in its place, is published; for any thread.

        Parameters:
            score: quality score of the image, 0 to 1.
            published_ns: when the image was published, by the clock of the times of the pair.
        """
        _observe(self._score.labels(self._streams.label(pair.current.stream)), score)
        _observe(self._wait, (pair.started_ns - pair.current.received_ns) / 1e9)
        _observe(self._engine, (pair.ended_ns - pair.started_ns) / 1e9)
        _observe(self._publish, (published_ns - pair.ended_ns) / 1e9)

    def text(self) -> bytes:
        """All metrics at this moment in Prometheus' text format; for any thread."""
        return generate_latest(_WithoutCreated(self._registry))


def _observe(histogram: Histogram, value: float) -> None:
    """Leave out what is not finite, which would make the sum useless for good."""
    if math.isfinite(value):
        histogram.observe(max(value, 0.0))


class _WithoutCreated(Collector):
    """Leaves out the library's `_created` series, one for each other series and useless in the text format."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
