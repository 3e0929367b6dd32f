"""The sessions of one source: runs of frames that may be paired with each other, and the frames that are rejected.

Pure logic over headers: no threads, no samples read. Invariant: within a session the sequence grows and, where the
source stamps times, they do not fall; a frame that would break this begins another session or is rejected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ..protocol.rf_message import RFMessage

Rejected = Literal["duplicate", "late"]
"""`duplicate`: the frame had arrived before. `late`: a newer frame has overtaken it on the way."""

_LATE_FRAMES = 16
"""A frame overtaken by more than so many others is taken for a new start of the source."""
_LEAP_FRAMES = 1 << 20
"""A gap beyond it, hours at any rate, is taken for a new count of the source and not for lost frames."""
_JUMP_NS = 1_000_000_000
"""How far the source's clock may run ahead of arrival between two frames: no queue delays more."""


class SessionTracker:
    """Assigns each frame of one source to a session, in order of arrival.

    A new session starts when the clock's name or the frames' shape, type or geometry change, when the sequence does
    not grow, as it does when the source starts again, or leaps, and when its clock jumps.
    """

    def __init__(self, number: Callable[[], int]) -> None:
        """`number` returns the next free session number."""
        self._number = number
        self.count = 0
        """Sessions that have begun."""
        self.lost = 0
        """Frames missing in the sequence numbers inside sessions: lost on the way, or never sent."""
        self.rejected: dict[Rejected, int] = {"duplicate": 0, "late": 0}
        self.clock_jumps = 0
        """Times that the source's clock fell or leapt while the sequence went on."""
        self._session = 0
        self._last: RFMessage | None = None
        self._arrived_ns = 0
        self._missing: set[int] = set()
        """Recent sequence numbers that have not arrived, and still may."""

    def admit(self, message: RFMessage, arrived_ns: int) -> int | None:
        """The session of `message`, which arrived at `arrived_ns` of the server's monotonic clock.

        None for a frame that is rejected; it is counted.
        """
        last = self._last
        if last is not None and _behind(last, message):
            self._reject(message.frame.sequence)
            return None
        waited_ns, self._arrived_ns, self._last = arrived_ns - self._arrived_ns, arrived_ns, message
        if last is not None and _alike(last, message) and _follows(last, message):
            if not _jumped(last, message, waited_ns):
                self._miss(last.frame.sequence + 1, message.frame.sequence)
                return self._session
            self.clock_jumps += 1
        self.count += 1
        self._missing.clear()
        self._session = self._number()
        return self._session

    def _reject(self, sequence: int) -> None:
        if sequence in self._missing:
            self._missing.remove(sequence)
            self.lost -= 1  # as which it was counted when the newer one came
            self.rejected["late"] += 1
        else:
            self.rejected["duplicate"] += 1

    def _miss(self, first: int, newest: int) -> None:
        """Count the frames from `first` to before `newest` as lost."""
        self.lost += newest - first
        self._missing = {k for k in self._missing if k >= newest - _LATE_FRAMES}
        self._missing.update(range(max(first, newest - _LATE_FRAMES), newest))


def _alike(last: RFMessage, message: RFMessage) -> bool:
    """Whether both have one clock, shape, type and geometry."""
    old, new = last.frame, message.frame
    return last.clock == message.clock and (old.shape, old.samples.dtype, old.scan) == (
        new.shape,
        new.samples.dtype,
        new.scan,
    )


def _follows(last: RFMessage, message: RFMessage) -> bool:
    return 0 < message.frame.sequence - last.frame.sequence <= _LEAP_FRAMES


def _behind(last: RFMessage, message: RFMessage) -> bool:
    """Whether `message` is older than `last`, or the same frame.

    Without times that cannot be told from a source that has started again.
    """
    if not _alike(last, message) or 0 in (last.frame.time_ns, message.frame.time_ns):
        return False
    frames = last.frame.sequence - message.frame.sequence
    time_ns = last.frame.time_ns - message.frame.time_ns
    return time_ns == 0 if frames == 0 else 0 < frames <= _LATE_FRAMES and 0 <= time_ns < _JUMP_NS


def _jumped(last: RFMessage, message: RFMessage, waited_ns: int) -> bool:
    """Whether the clock went back, or ran ahead of arrival by more than lost frames explain.

    Frames that waited in a queue arrive together; then as many were lost from it, or it was short.
    """
    start_ns, end_ns = last.frame.time_ns, message.frame.time_ns
    if start_ns == 0:
        return False
    neighbours = message.frame.sequence - last.frame.sequence == 1
    return end_ns < start_ns or (neighbours and end_ns - start_ns - waited_ns > _JUMP_NS)
