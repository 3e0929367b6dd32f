"""What a monitor sees of the live server: Prometheus metrics, noted image by image or read when somebody asks.

Knows no sockets and no HTTP. Invariant: nothing is shared with another `Metrics` of this process, and the number of
time series is bounded, whatever the network sends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

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

from ..imaging.display_state import State
from .census import Census, Sources
from .labels import StreamLabels

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""Of `Metrics.text`."""
AGES_S = (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5)
STAGES_S = (1e-4, 2.5e-4, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2)
"""From the hand-over of an image to a graph in float32 on a small CPU."""
SCORES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
"""Those of `StateRule` and `ImageQualityRule` among them."""


class Metrics:
    """Made before the server, which notes its images and pairs; `watch` adds what the server counts by itself."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._streams = StreamLabels()
        self._images = Counter(
            "usert_images", "Strain images published.", ("stream", "state"), registry=self._registry
        )
        self._age = Histogram(
            "usert_image_age_seconds",
            "Age of the frame behind an image when the image was published, by the image's state.",
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

    def watch(self, sources: Sources) -> None:
        """Show what `sources` count, too; once."""
        self._registry.register(Census(sources))

    def image(self, *, stream: str, state: State, age_ms: float) -> None:
        """Note an image as it is published, with its age; for any thread."""
        self._images.labels(self._streams.label(stream), state).inc()
        _observe(self._age.labels(state), age_ms / 1e3)

    def pair(
        self,
        *,
        stream: str,
        score: float,
        received_ns: int,
        started_ns: int,
        estimated_ns: int,
        published_ns: int,
    ) -> None:
        """Note a pair whose image, or an older one in its place, is published; for any thread.

        Times are of one monotonic clock, `received_ns` of the current frame.
        """
        _observe(self._score.labels(self._streams.label(stream)), score)
        _observe(self._wait, (started_ns - received_ns) / 1e9)
        _observe(self._engine, (estimated_ns - started_ns) / 1e9)
        _observe(self._publish, (published_ns - estimated_ns) / 1e9)

    def text(self) -> bytes:
        """All metrics at this moment, in Prometheus' text format; for any thread."""
        return generate_latest(_WithoutCreated(self._registry))


def _observe(histogram: Histogram, value: float) -> None:
    """Leave out what would spoil the sum for good."""
    if math.isfinite(value):
        histogram.observe(max(value, 0.0))


class _WithoutCreated(Collector):
    """Without the library's `_created` series, one for every other, which Prometheus' text format has no use for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
