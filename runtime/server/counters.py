"""What the live server counts and measures, for its messages, its summary, its metrics and its health.

Written by the serving thread, read by any. Knows no sockets and no engine. Invariant: an image is counted before it is
sent, or a client could know of it first.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from usert.errors import FrameError

from ..imaging.estimate import EstimatedPair
from ..monitor.health import Health
from ..monitor.metrics import Metrics
from ..protocol.age import Meter, age_at_server, clock_id, now_ns
from ..protocol.strain_message import Counters
from ..transport.fault_counter import Tally
from .frame_queue import Inbox
from .stats import ServerStats
from .stream import Shown

log = logging.getLogger(__name__)


class Ledger:
    """Of one server, since it opened."""

    def __init__(self, inbox: Inbox, *, health: Health, metrics: Metrics | None, deadline_ms: float) -> None:
        self._inbox = inbox
        self._health = health
        self._metrics = metrics
        self._deadline_ms = deadline_ms
        self._meter = Meter()
        self._failed = Tally(log, "no image")
        self._unpaired = self._published = self._missed_deadlines = 0
        self.malformed: Iterable[Tally] = ()
        """Those of the receivers."""

    def unpaired(self) -> None:
        """A frame without a pair."""
        self._unpaired += 1

    def failed(self, error: Exception) -> None:
        """A pair without an image."""
        self._failed.add(type(error).__name__, str(error))
        if not isinstance(error, FrameError):  # which is the source's fault
            self._health.failed(now_ns())

    def image(self, shown: Shown, published_ns: int) -> Counters:
        """An image that is about to be sent: the counts to send with it."""
        current = shown.image.of.current
        age = age_at_server(
            time_ns=current.frame.time_ns,
            received_ns=current.received_ns,
            now_ns=published_ns,
            same_clock=current.clock == clock_id(),
        )
        self._meter.add(published_ns, None if shown.state == "held" else age)
        self._published += 1
        self._missed_deadlines += shown.state == "live" and age.ms > self._deadline_ms
        self._health.image(published_ns)
        if self._metrics is not None:
            self._metrics.image(stream=current.stream, state=shown.state, age_ms=age.ms)
        counts = self._inbox.counts
        return Counters(
            received=counts.received,
            dropped=counts.dropped,
            malformed=sum(tally.total for tally in self.malformed),
            published=self._published,
            lost=counts.lost,
            duplicates=counts.duplicates,
            late=counts.late,
            failed=self._failed.total,
            missed_deadlines=self._missed_deadlines,
        )

    def pair(self, new: EstimatedPair, score: float, published_ns: int) -> None:
        """A pair that became an image, or let another be shown again."""
        if self._metrics is not None:
            self._metrics.pair(
                stream=new.current.stream,
                score=score,
                received_ns=new.current.received_ns,
                matched_ns=new.matched_ns,
                started_ns=new.started_ns,
                estimated_ns=new.ended_ns,
                published_ns=published_ns,
            )

    @property
    def stats(self) -> ServerStats:
        """The counts at this moment; for any thread."""
        counts = self._inbox.counts
        malformed: Counter[str] = Counter()
        for tally in self.malformed:
            malformed.update(tally.counts)
        return ServerStats(
            received=counts.received,
            dropped=counts.dropped,
            lost=counts.lost,
            malformed=dict(malformed),
            sessions=counts.sessions,
            duplicates=counts.duplicates,
            late=counts.late,
            turned_away=sum(counts.turned_away.values()),
            clock_jumps=counts.clock_jumps,
            streams=counts.sources,
            unpaired=self._unpaired,
            failed=self._failed.counts,
            published=self._published,
            missed_deadlines=self._missed_deadlines,
            output=self._meter.read(now_ns()),
        )
