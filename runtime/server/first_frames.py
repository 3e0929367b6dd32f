"""The check of a session's first frames: whether they are RF or IQ of the stated frequencies, depth along the first
axis, with a clock in nanoseconds.

Knows one source. Invariant: of each session at most one line on its samples and two on its clock are logged; samples
are looked at once a second at most, ever more seldom, and not again once the session is judged. Of IQ, whose axes show
only in motion, a few frames in a row are compared until some of them moved, in the same intervals.
"""

from __future__ import annotations

import logging
import time

from usert.signal_check import LINES_FIRST, AxesWatch, Signal, check_signal, for_header

from ..imaging.frames import ReceivedFrame
from ..protocol.age import clock_id

_EVERY_NS, _SELDOM_NS = 1_000_000_000, 64_000_000_000
"""Between two looks at a session whose samples could not be judged, such as a probe in air: at first, and at most."""
_CLOCK_NS = 2_000_000_000
"""Arrivals so far apart show the clock's unit, whatever waited in queues."""
_UNITS = {"microseconds": 1e3, "milliseconds": 1e6, "seconds": 1e9}
_RATIO = 1.6
"""How far the clock may seem to differ from a unit."""
_BEHIND_NS = 60_000_000_000
"""A frame older than that on arrival was stamped by another clock: no queue delays so much."""
_WALL_NS = 86_400_000_000_000
"""Difference from the wall clock below which a time is one of it."""

log = logging.getLogger(__name__)


class FirstFrames:
    """Looks at the frames of one source until each session is judged."""

    def __init__(self) -> None:
        self.signal: Signal | None = None
        """What the session's samples look like; None until a frame could be judged."""
        self._axes = AxesWatch()
        self._session = 0
        self._looked_ns = -_EVERY_NS
        self._every_ns = _EVERY_NS
        self._ahead = False
        """Whether it was logged that the session's clock is ahead of the arrival."""
        self._first: ReceivedFrame | None = None
        """The frame from which the clock is watched; None when that is done."""

    @property
    def doubtful(self) -> bool:
        """Whether the session's samples are not RF of the stated frequencies."""
        return self.signal is not None and (self.signal.refused or self.signal.kind == "f0")

    def look(self, current: ReceivedFrame) -> None:
        """Look at a frame of the source; a frame of a new session starts over."""
        if current.session != self._session:
            self._session, self.signal, self._every_ns = current.session, None, _EVERY_NS
            self._axes = AxesWatch()
            self._first = current if current.frame.time_ns else None
            self._ahead = False
        if self.signal is None and current.received_ns - self._looked_ns >= self._every_ns:
            self._looked_ns = current.received_ns
            self._every_ns = min(2 * self._every_ns, _SELDOM_NS)
            self._look_at_samples(current)
        if self.signal is not None and self.signal.kind == "iq":
            self._look_at_axes(current)
        if not self._ahead and current.clock == clock_id() and current.frame.time_ns > current.received_ns:
            self._ahead = True
            _warn_of_clock_ahead(current)
        if self._first is not None and current.received_ns - self._first.received_ns >= _CLOCK_NS:
            _look_at_clock(self._first, current)
            self._first = None

    def _look_at_samples(self, current: ReceivedFrame) -> None:
        signal = check_signal(current.frame.samples, current.frame.scan)
        if not signal.judged:
            return
        self._found(signal, current)

    def _look_at_axes(self, current: ReceivedFrame) -> None:
        if self._axes.look(current.frame.samples, current.frame.scan, current.received_ns):
            self._found(LINES_FIRST, current)

    def _found(self, signal: Signal, current: ReceivedFrame) -> None:
        self.signal = signal
        if signal.line:
            log.warning("session %d: %r: %s", current.session, current.stream, for_header(signal.line))


def _warn_of_clock_ahead(current: ReceivedFrame) -> None:
    is_wall = abs(current.frame.time_ns - time.time_ns()) < _WALL_NS
    log.warning(
        "session %d: %r: time_ns is later than its arrival by the same clock%s, expected the monotonic clock; ages are "
        "lower bounds",
        current.session,
        current.stream,
        ": looks like wall time" if is_wall else "",
    )


def _look_at_clock(first: ReceivedFrame, current: ReceivedFrame) -> None:
    arrived = current.received_ns - first.received_ns
    stamped = current.frame.time_ns - first.frame.time_ns
    for unit, factor in _UNITS.items():
        if arrived / _RATIO <= factor * stamped <= arrived * _RATIO:
            log.warning(
                "session %d: %r: time_ns grew by %d in %.1f s: looks like %s, expected nanoseconds; ages are wrong",
                current.session,
                current.stream,
                stamped,
                arrived / 1e9,
                unit,
            )
            return
    behind = current.received_ns - current.frame.time_ns
    if current.clock == clock_id() and behind > _BEHIND_NS:
        log.warning(
            "session %d: %r: time_ns is %.0f s before its arrival by the same clock: looks like a clock that started "
            "with the program, expected the monotonic clock of the machine; ages are wrong",
            current.session,
            current.stream,
            behind / 1e9,
        )
