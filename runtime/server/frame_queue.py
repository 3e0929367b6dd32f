"""The queue between receiving and serving threads: of each source the frames that wait, and those before them.

Each source (a stream's name) has its own sessions and its own queue; the sources take turns. By default a waiting frame
is dropped when a newer one of its source comes. Where every frame is wanted, the queue is short and `put` blocks, so
that ZeroMQ's own queues fill up and hold the sender back. Invariant: received = duplicates + late + rejected + dropped
+ taken + waiting, over all sources that there ever were.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from ..imaging.frames import ReceivedFrame
from ..monitor.counts import FrameCounts
from ..protocol.rf_message import RFMessage
from ..transport.fault_counter import FaultCounter
from .session_tracker import SessionTracker

MAX_SOURCES = 8
"""Sources at once: a sender that makes up names must not fill the memory."""
SILENT_NS = 10_000_000_000
"""A source that was silent for so long makes room for another, or gives its name to it."""

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Source:
    """The frames of one source that are kept or wait."""

    origin: int
    """Number of the receiver that its frames arrive at."""
    sessions: SessionTracker
    frames: deque[ReceivedFrame]
    waiting: int = 0
    """How many of the last frames have not been taken yet."""
    arrived_ns: int = 0


class FrameQueue:
    """Receiving threads `put` frames, the serving thread takes them."""

    def __init__(
        self,
        *,
        kept: int,
        queue: int | None = None,
        admitted: Callable[[ReceivedFrame], None] = lambda frame: None,
    ) -> None:
        """`kept`: frames that stay for pairing after they were taken. `queue`: take every frame, with so many waiting.

        `admitted` is called with every frame before it can be taken, one at a time.
        """
        self._changed = threading.Condition()
        self._kept = kept
        self._queue = queue
        self._admitted = admitted
        self._sources: dict[str, _Source] = {}
        """The sources in the order of their turns."""
        self._numbers = count(1)
        self._closed = False
        self._received = self._dropped = self._taken = 0
        self._past: Counter[str] = Counter()
        """Counts of sources that have made room for others."""
        self._rejected = FaultCounter(log, "frames rejected")

    def put(self, message: RFMessage, arrived_ns: int, origin: int = 0) -> None:
        """Add a frame that receiver `origin` read at `arrived_ns`; a frame that is rejected is counted."""
        with self._changed:
            self._received += 1
            source = self._find_source(message.stream, arrived_ns, origin)
            if source is None:
                return
            source.arrived_ns = arrived_ns
            session = source.sessions.admit(message, arrived_ns)
            if session is None:
                return
            if self._queue is None:
                self._dropped += source.waiting
                source.waiting = 0
            elif not self._wait_for_room(source, self._queue):
                self._dropped += 1
                return
            frame = ReceivedFrame(
                frame=source.sessions.in_session(message.frame),
                stream=message.stream,
                clock=message.clock,
                received_ns=arrived_ns,
                session=session,
                session_reason=source.sessions.reason,
            )
            self._admitted(frame)
            source.frames.append(frame)
            source.waiting += 1
            self._changed.notify_all()

    def take(
        self, timeout_s: float, interrupted: Callable[[], bool] = lambda: False
    ) -> tuple[ReceivedFrame, tuple[ReceivedFrame, ...]] | None:
        """The next frame and those of its source before it, oldest first.

        None when none came within `timeout_s`, or before `interrupted` was true, which is looked at after each `wake`.
        """
        with self._changed:
            self._changed.wait_for(lambda: interrupted() or any(self._ready()), timeout_s)
            if interrupted() or not any(self._ready()):
                return None
            name, source = next(self._ready())
            self._sources[name] = self._sources.pop(name)  # the others come first next time
            at = len(source.frames) - source.waiting
            source.waiting -= 1
            self._taken += 1
            self._changed.notify_all()
            frames = tuple(source.frames)
            return frames[at], frames[max(0, at - self._kept) : at]

    def wake(self) -> None:
        """Let a `take` that waits look again whether it is interrupted; for any thread."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """End every `put` that waits for room; idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources that are served."""
        with self._changed:
            return tuple(self._sources)

    @property
    def counts(self) -> FrameCounts:
        """The counts at this moment."""
        with self._changed:
            totals = sum((source.sessions.counts for source in self._sources.values()), self._past)
            return FrameCounts(
                received=self._received,
                used=self._taken,
                dropped=self._dropped,
                rejected=self._rejected.total,
                sources=len(self._sources),
                **{name: totals[name] for name in ("lost", "duplicates", "late", "sessions", "clock_jumps")},
            )

    def _ready(self) -> Iterator[tuple[str, _Source]]:
        return ((name, source) for name, source in self._sources.items() if source.waiting)

    def _wait_for_room(self, source: _Source, most: int) -> bool:
        self._changed.wait_for(lambda: self._closed or source.waiting < most)
        return not self._closed

    def _find_source(self, name: str, now_ns: int, origin: int) -> _Source | None:
        """The source `name`, made if there is room; None, counted, if there is none."""
        source = self._sources.get(name)
        if source is not None and source.origin == origin:
            return source
        if source is not None and not self._give_up(name, now_ns):
            self._rejected.add(
                "name", f"{name!r} arrives at two endpoints, expected one name for each source"
            )
            return None
        if len(self._sources) >= MAX_SOURCES and not any(
            self._give_up(other, now_ns) for other in tuple(self._sources)
        ):
            self._rejected.add("sources", f"got more than {MAX_SOURCES} sources at once")
            return None
        frames: deque[ReceivedFrame] = deque(maxlen=self._kept + 1 + (self._queue or 0))
        sessions = SessionTracker(lambda: next(self._numbers))
        source = self._sources[name] = _Source(origin, sessions, frames)
        return source

    def _give_up(self, name: str, now_ns: int) -> bool:
        """Forget the source `name` if it is silent and none of its frames waits; whether it was forgotten."""
        source = self._sources[name]
        if source.waiting or now_ns - source.arrived_ns < SILENT_NS:
            return False
        self._past.update(self._sources.pop(name).sessions.counts)
        return True
