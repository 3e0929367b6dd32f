"""Counts and measurements of the live server: written by the serving thread, read by any.

Invariant: an image is counted before it is sent, or a client could know of it first.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from usert.errors import FrameError

from ..imaging.estimate import EstimatedPair
from ..monitor.counts import ServerCounts
from ..monitor.health import Health
from ..monitor.metrics import Metrics
from ..protocol.age import Meter, Readings, age_at_server, clock_id, now_ns
from ..protocol.strain_message import Counters
from ..transport.fault_counter import FaultCounter
from .frame_queue import FrameQueue
from .stream import Shown

FROZEN = "the stream is frozen"
"""Why a frozen stream has no new image."""
_OF_FRAMES = ("received", "dropped", "lost", "duplicates", "late")
"""Counts of frames that a message carries."""
_ERROR_LETTERS = 160
"""Letters of an error in the reason why there is no image."""

log = logging.getLogger(__name__)


class ServerCounters:
    """The counts of one server since it opened, with the monitors to notify of each image."""

    def __init__(
        self, frames: FrameQueue, *, health: Health, metrics: Metrics | None, deadline_ms: float
    ) -> None:
        self._frames = frames
        self._health = health
        self._metrics = metrics
        self._deadline_ms = deadline_ms
        self._meter = Meter()
        self._failed = FaultCounter(log, "no image")
        self._unpaired = self._published = self._missed_deadlines = 0
        self.malformed: Iterable[FaultCounter] = ()
        """Malformed messages of each receiver."""

    def log_repeated(self) -> None:
        """Log the number of failed pairs of the last minute, where it is due."""
        self._failed.log_repeated()

    def unpaired(self, reason: str) -> str:
        """Count a frame without a pair; returns the `reason`."""
        self._unpaired += 1
        self._health.obstructed(reason, now_ns())
        return reason

    def failed(self, error: Exception) -> str:
        """Count a pair without an image; returns the reason in a few words."""
        kind, text = type(error).__name__, str(error)
        self._failed.add(kind, text)
        told = " ".join(text.split())[:_ERROR_LETTERS].encode("ascii", "replace").decode()
        reason = f"the engine fails with {kind}: {told}"
        if isinstance(error, FrameError):  # which is the source's fault
            reason = f"the engine refuses the frames: {told}"
        else:
            self._health.failed_in_a_row += 1
        self._health.obstructed(reason, now_ns())
        return reason

    def image(self, shown: Shown, published_ns: int, *, pair: EstimatedPair | None = None) -> Counters:
        """Count an image that is about to be sent; the counts to send with it.

        `pair`: the newest one, whose image this is or in whose place an older one is shown; None while frozen.
        """
        current = shown.image.pair.current
        age = age_at_server(
            time_ns=current.frame.time_ns,
            received_ns=current.received_ns,
            now_ns=published_ns,
            same_clock=current.clock == clock_id(),
        )
        self._meter.add(published_ns, None if shown.state == "held" else age)
        self._published += 1
        self._missed_deadlines += shown.state == "live" and age.ms > self._deadline_ms
        self._health.image_ns, self._health.failed_in_a_row = published_ns, 0
        if pair is None:
            self._health.obstructed(FROZEN, published_ns)
        else:
            self._health.cleared()
        if self._metrics is not None:
            self._metrics.image(stream=current.stream, state=shown.state, age_ms=age.ms)
            if pair is not None:
                self._metrics.pair(pair, score=shown.newest.score, published_ns=published_ns)
        counts = self.counts
        return Counters(
            malformed=sum(counts.malformed.values()),
            published=counts.published,
            failed=sum(counts.failed.values()),
            missed_deadlines=counts.missed_deadlines,
            **{name: getattr(counts.frames, name) for name in _OF_FRAMES},
        )

    @property
    def counts(self) -> ServerCounts:
        """The counts at this moment; for any thread."""
        malformed: Counter[str] = Counter()
        for faults in self.malformed:
            malformed.update(faults.counts)
        return ServerCounts(
            frames=self._frames.counts,
            malformed=malformed,
            unpaired=self._unpaired,
            failed=self._failed.counts,
            published=self._published,
            missed_deadlines=self._missed_deadlines,
        )

    @property
    def output(self) -> Readings:
        """Rate and ages of the images at this moment; for any thread."""
        return self._meter.read(now_ns())
