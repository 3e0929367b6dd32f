"""Between the threads that receive and the one that works: the frames of each source that wait, and those before them.

Each source (a stream's name) has its own sessions and its own place; the sources take turns. Newest wins: a frame
that waits is dropped when a newer one of its source comes. Or every frame: a short queue, and whoever brings more
waits, so that ZeroMQ's own queues fill up and hold the sender back. Knows no sockets, engines or pairs. Invariant:
received = duplicates + late + turned away + dropped + taken + waiting, over all sources that there ever were.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from ..imaging.frames import ReceivedFrame
from ..protocol.rf_message import RFMessage
from ..transport.fault_counter import Tally
from .continuity import Sessions

MAX_SOURCES = 8
"""At once: whoever makes up names does not fill the memory."""
SILENT_NS = 10_000_000_000
"""A source that was silent for so long loses its place, or its name, to another that wants it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxCounts:
    """One consistent reading of the counters."""

    received: int
    dropped: int
    """Replaced by a newer one before anybody took them."""
    taken: int
    duplicates: int
    late: int
    """As `Sessions.refused`."""
    turned_away: dict[str, int]
    """By reason: `sources` (there are too many), `name` (another source has it)."""
    lost: int
    """Missing in the sequence numbers: they never arrived."""
    sessions: int
    clock_jumps: int
    sources: int
    """That have a place now."""


class _Place:
    """Of one source."""

    def __init__(self, origin: int, size: int, sessions: Sessions) -> None:
        self.origin = origin
        """The receiver that its frames come by."""
        self.sessions = sessions
        self.frames: deque[ReceivedFrame] = deque(maxlen=size)
        self.waiting = 0
        """So many of the last frames."""
        self.arrived_ns = 0


class Inbox:
    """Receiving threads `put`, one working thread takes."""

    def __init__(
        self,
        *,
        kept: int,
        queue: int | None = None,
        admitted: Callable[[ReceivedFrame], None] = lambda frame: None,
    ) -> None:
        """`kept`: frames before the one taken that stay. `queue`: take every frame, and let so many wait.

        `admitted` is told of every frame before it can be taken, one at a time.
        """
        self._changed = threading.Condition()
        self._kept = kept
        self._queue = queue
        self._admitted = admitted
        self._places: dict[str, _Place] = {}
        """Whose turn is next, first."""
        self._numbers = count(1)
        self._closed = False
        self._received = self._dropped = self._taken = 0
        self._turned_away: Counter[str] = Counter()
        self._past: Counter[str] = Counter()
        """Counts of sources that have lost their place."""
        self._tally = Tally(log, "frames turned away")

    def put(self, message: RFMessage, arrived_ns: int, origin: int = 0) -> None:
        """Take in a frame that receiver `origin` read at `arrived_ns`; refused ones are counted."""
        with self._changed:
            self._received += 1
            place = self._place(message.stream, arrived_ns, origin)
            if place is None:
                return
            place.arrived_ns = arrived_ns
            session = place.sessions.admit(message, arrived_ns)
            if session is None:
                return
            if self._queue is None:
                self._dropped += place.waiting
                place.waiting = 0
            elif not self._wait_for_room(place, self._queue):
                self._dropped += 1
                return
            frame = ReceivedFrame(
                frame=message.frame,
                stream=message.stream,
                clock=message.clock,
                received_ns=arrived_ns,
                session=session,
            )
            self._admitted(frame)
            place.frames.append(frame)
            place.waiting += 1
            self._changed.notify_all()

    def take(self, timeout_s: float) -> tuple[ReceivedFrame, tuple[ReceivedFrame, ...]] | None:
        """The next frame and those of its source before it, oldest first; None when none came within `timeout_s`."""
        with self._changed:
            if not self._changed.wait_for(lambda: any(self._ready()), timeout_s):
                return None
            name, place = next(self._ready())
            self._places[name] = self._places.pop(name)  # the others come first next time
            at = len(place.frames) - place.waiting
            place.waiting -= 1
            self._taken += 1
            self._changed.notify_all()
            frames = tuple(place.frames)
            return frames[at], frames[max(0, at - self._kept) : at]

    def close(self) -> None:
        """Let go whoever waits in `put`; idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of those that have a place."""
        with self._changed:
            return tuple(self._places)

    @property
    def counts(self) -> InboxCounts:
        """The counters at this moment."""
        with self._changed:
            totals = sum((_totals(place.sessions) for place in self._places.values()), self._past)
            return InboxCounts(
                received=self._received,
                dropped=self._dropped,
                taken=self._taken,
                duplicates=totals["duplicate"],
                late=totals["late"],
                turned_away=dict(self._turned_away),
                lost=totals["lost"],
                sessions=totals["sessions"],
                clock_jumps=totals["clock_jumps"],
                sources=len(self._places),
            )

    def _ready(self) -> Iterator[tuple[str, _Place]]:
        return ((name, place) for name, place in self._places.items() if place.waiting)

    def _wait_for_room(self, place: _Place, most: int) -> bool:
        self._changed.wait_for(lambda: self._closed or place.waiting < most)
        return not self._closed

    def _place(self, name: str, now_ns: int, origin: int) -> _Place | None:
        """That of the source `name`, made if there is room; None, counted, if there is none."""
        place = self._places.get(name)
        if place is not None and place.origin == origin:
            return place
        if place is not None and not self._give_up(name, now_ns):
            self._turn_away("name", f"{name!r} comes by two ways, expected one name a source")
            return None
        if len(self._places) >= MAX_SOURCES and not any(
            self._give_up(other, now_ns) for other in tuple(self._places)
        ):
            self._turn_away("sources", f"got more than {MAX_SOURCES} sources at once")
            return None
        size = self._kept + 1 + (self._queue or 0)
        place = self._places[name] = _Place(origin, size, Sessions(lambda: next(self._numbers)))
        return place

    def _give_up(self, name: str, now_ns: int) -> bool:
        """Let the source `name` go if it is silent and none of its frames waits; whether it went."""
        place = self._places[name]
        if place.waiting or now_ns - place.arrived_ns < SILENT_NS:
            return False
        self._past.update(_totals(self._places.pop(name).sessions))
        return True

    def _turn_away(self, reason: str, detail: str) -> None:
        self._turned_away[reason] += 1
        self._tally.add(reason, detail)


def _totals(sessions: Sessions) -> Counter[str]:
    return Counter(
        lost=sessions.lost, sessions=sessions.count, clock_jumps=sessions.clock_jumps, **sessions.refused
    )
