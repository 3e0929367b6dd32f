"""The sessions of one source: runs of frames that may be paired with each other, and the frames that are rejected.

Invariant: within a session the sequence grows and, where the source stamps times, they do not fall; a frame that would
break this begins another session or is rejected.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from usert.frame import RFFrame, Scan

from ..protocol.rf_message import RFMessage

_LATE_FRAMES = 16
"""A frame overtaken by more than so many others is taken for a new start of the source."""
_LEAP_FRAMES = 1 << 20
"""A gap beyond it, hours at any rate, is taken for a new count of the source and not for lost frames."""
_JUMP_NS = 1_000_000_000
"""How far the source's clock may run ahead of arrival between two frames: no queue delays more."""
_GEOMETRY_TOLERANCE = 1e-6
"""Relative difference of geometry that is rounding: some sources compute it anew for each frame."""
_CLOCK_LETTERS = 24
"""Letters of a clock's name in the reason of a session."""


class SessionTracker:
    """Assigns each frame of one source to a session, in order of arrival.

    A new session starts when the clock's name or the frames' shape, type or geometry change, when the sequence does
    not grow, as it does when the source starts again, or leaps, and when its clock jumps. Geometry that differs from
    that of the session's first frame by a millionth or less is the same.
    """

    def __init__(self, number: Callable[[], int]) -> None:
        """`number` returns the next free session number."""
        self._number = number
        self.counts: Counter[str] = Counter()
        """Counts of the source, by their names in `FrameCounts`."""
        self.reason = ""
        """Why the newest session began, in a few words."""
        self._session = 0
        self._scan: Scan | None = None
        """Geometry of the session: that of its first frame."""
        self._last: RFMessage | None = None
        self._arrived_ns = 0
        self._missing: set[int] = set()
        """Recent sequence numbers that have not arrived, and still may."""

    def admit(self, message: RFMessage, arrived_ns: int) -> int | None:
        """The session of `message`, which arrived at `arrived_ns` of the server's monotonic clock.

        None for a frame that is rejected; it is counted.
        """
        last = self._last
        if last is not None and self._behind(last, message):
            self._reject(message.frame.sequence)
            return None
        waited_ns, self._arrived_ns, self._last = arrived_ns - self._arrived_ns, arrived_ns, message
        reason = "first frame"
        if last is not None:
            reason = self._difference(last, message) or _break(last, message)
            if not reason and (jump_ns := _jump_ns(last, message, waited_ns)):
                self.counts["clock_jumps"] += 1
                reason = f"clock jumped by {jump_ns / 1e6:.0f} ms"
            if not reason:
                self._miss(last.frame.sequence + 1, message.frame.sequence)
                return self._session
        self.counts["sessions"] += 1
        self._missing.clear()
        self._session, self.reason, self._scan = self._number(), reason, message.frame.scan
        return self._session

    def in_session(self, frame: RFFrame) -> RFFrame:
        """The `frame` admitted last, with the geometry of its session: that of the session's first frame."""
        scan = self._scan
        return frame if scan is None or frame.scan == scan else replace(frame, scan=scan)

    def _difference(self, last: RFMessage, message: RFMessage) -> str:
        """The first difference in clock, shape, type or geometry, in words; empty where there is none."""
        old, new = last.frame, message.frame
        if last.clock != message.clock:
            before, now = (ascii(clock[:_CLOCK_LETTERS]) for clock in (last.clock, message.clock))
            return f"clock changed from {before} to {now}"
        if old.shape != new.shape:
            return "shape changed from {} x {} to {} x {}".format(*old.shape, *new.shape)
        if old.samples.dtype != new.samples.dtype:
            return f"type changed from {old.samples.dtype} to {new.samples.dtype}"
        return _geometry_change(self._scan or old.scan, new.scan)

    def _behind(self, last: RFMessage, message: RFMessage) -> bool:
        """Whether `message` is older than `last`, or the same frame.

        Without times that cannot be told from a source that has started again.
        """
        if 0 in (last.frame.time_ns, message.frame.time_ns) or self._difference(last, message):
            return False
        frames = last.frame.sequence - message.frame.sequence
        time_ns = last.frame.time_ns - message.frame.time_ns
        return time_ns == 0 if frames == 0 else 0 < frames <= _LATE_FRAMES and 0 <= time_ns < _JUMP_NS

    def _reject(self, sequence: int) -> None:
        if sequence in self._missing:
            self._missing.remove(sequence)
            self.counts["lost"] -= 1  # as which it was counted when the newer one came
            self.counts["late"] += 1
        else:
            self.counts["duplicates"] += 1

    def _miss(self, first: int, newest: int) -> None:
        self.counts["lost"] += newest - first
        self._missing = {k for k in self._missing if k >= newest - _LATE_FRAMES}
        self._missing.update(range(max(first, newest - _LATE_FRAMES), newest))


def _geometry_change(old: Scan, new: Scan) -> str:
    """Each number that differs by more than `_GEOMETRY_TOLERANCE`; empty where none does."""
    if old == new:
        return ""
    changes = [
        f"{field.name} {_number(field.name, before)} → {_number(field.name, after)}"
        for field in fields(Scan)
        if not _close(before := getattr(old, field.name), after := getattr(new, field.name))
    ]
    return f"geometry: {', '.join(changes)}" if changes else ""


def _close(before: Any, after: Any) -> bool:
    """Whether two values of a field of `Scan` are one within `_GEOMETRY_TOLERANCE`."""
    if isinstance(before, tuple) and isinstance(after, tuple):
        return len(before) == len(after) and all(map(_close, before, after))
    if isinstance(before, float) and isinstance(after, float):
        return math.isclose(before, after, rel_tol=_GEOMETRY_TOLERANCE)
    return bool(before == after)


def _number(name: str, value: Any) -> str:
    """`value` with as many digits as the tolerance lets differ; frequencies in millions, such as 31.25e6."""
    if not isinstance(value, float):
        return "none" if value is None else str(value)
    return f"{value / 1e6:.8g}e6" if name.endswith("_hz") else f"{value:.8g}"


def _break(last: RFMessage, message: RFMessage) -> str:
    """Why the sequence of `message` does not go on from that of `last`; empty where it does."""
    before, now = last.frame.sequence, message.frame.sequence
    if now == before:
        return f"sequence stays at {now}"
    if now < before:
        return f"sequence started again at {now}, after {before}"
    return f"sequence leapt from {before} to {now}" if now - before > _LEAP_FRAMES else ""


def _jump_ns(last: RFMessage, message: RFMessage, waited_ns: int) -> int:
    """How far the clock went back, or ran ahead of arrival by more than lost frames explain; 0 where it did not.

    Frames that waited in a queue arrive together; then as many were lost from it, or it was short.
    """
    start_ns, end_ns = last.frame.time_ns, message.frame.time_ns
    if start_ns == 0:
        return 0
    if end_ns < start_ns:
        return end_ns - start_ns
    ahead_ns = end_ns - start_ns - waited_ns
    neighbours = message.frame.sequence - last.frame.sequence == 1
    return ahead_ns if neighbours and ahead_ns > _JUMP_NS else 0
