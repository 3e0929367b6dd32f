"""The sessions of one source: runs of frames that may be paired; and frames that are none of their own.

Pure logic over headers: no threads, no samples read. Invariant: within a session the sequence grows and, where the
source stamps times, they do not fall; a frame that would break that begins another session or is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ..protocol.rf_message import RFMessage

Refused = Literal["duplicate", "late"]
"""`duplicate`: a frame that came before. `late`: one that a newer frame has overtaken on the way."""

_LATE_FRAMES = 16
"""Frames that one may be overtaken by; further back the source has started again."""
_LEAP_FRAMES = 1 << 20
"""Beyond it frames were not lost, but counted anew: hours at any rate; and the count of the lost stays readable."""
_JUMP_NS = 1_000_000_000
"""By which the source's clock may run ahead of arrival between two frames: no queue hides more."""


class Sessions:
    """Admits each message of one source in order of arrival.

    A new session starts when the clock's name or the frames' shape, type or geometry change, when the sequence does
    not grow, as it does when the source starts again, or leaps, and when its clock jumps.
    """

    def __init__(self, number: Callable[[], int]) -> None:
        """`number`: gives the next free session number."""
        self._number = number
        self.count = 0
        """Sessions begun."""
        self.lost = 0
        """Frames missing in the sequence numbers inside sessions: lost on the way, or never sent."""
        self.refused: dict[Refused, int] = {"duplicate": 0, "late": 0}
        self.clock_jumps = 0
        """Times that the source's clock fell or leapt while the sequence went on."""
        self._session = 0
        self._last: RFMessage | None = None
        self._arrived_ns = 0
        self._missing: set[int] = set()
        """Sequence numbers of late that may still come."""

    def admit(self, message: RFMessage, arrived_ns: int) -> int | None:
        """The session that `message` belongs to; None for a frame that is refused, and counted.

        `arrived_ns`: the server's monotonic clock.
        """
        last = self._last
        if last is not None and _behind(last, message):
            self._refuse(message.frame.sequence)
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

    def _refuse(self, sequence: int) -> None:
        if sequence in self._missing:
            self._missing.remove(sequence)
            self.lost -= 1  # as which it was counted when the newer one came
            self.refused["late"] += 1
        else:
            self.refused["duplicate"] += 1

    def _miss(self, first: int, newest: int) -> None:
        """Frames from `first` on, up to `newest`, which came, have not come."""
        self.lost += newest - first
        self._missing = {k for k in self._missing if k >= newest - _LATE_FRAMES}
        self._missing.update(range(max(first, newest - _LATE_FRAMES), newest))


def _alike(last: RFMessage, message: RFMessage) -> bool:
    """Whether both are frames of one clock and one form."""
    old, new = last.frame, message.frame
    return last.clock == message.clock and (old.shape, old.samples.dtype, old.scan) == (
        new.shape,
        new.samples.dtype,
        new.scan,
    )


def _follows(last: RFMessage, message: RFMessage) -> bool:
    return 0 < message.frame.sequence - last.frame.sequence <= _LEAP_FRAMES


def _behind(last: RFMessage, message: RFMessage) -> bool:
    """Whether `last` has overtaken `message`, or is the same.

    Without times nothing tells that from a source that has started again.
    """
    if not _alike(last, message) or 0 in (last.frame.time_ns, message.frame.time_ns):
        return False
    frames = last.frame.sequence - message.frame.sequence
    time_ns = last.frame.time_ns - message.frame.time_ns
    return time_ns == 0 if frames == 0 else 0 < frames <= _LATE_FRAMES and 0 <= time_ns < _JUMP_NS


def _jumped(last: RFMessage, message: RFMessage, waited_ns: int) -> bool:
    """Back, or ahead of arrival by more than lost frames explain.

    A queue lets frames arrive together that are apart, but as many are lost from it then, or it is short.
    """
    start_ns, end_ns = last.frame.time_ns, message.frame.time_ns
    if start_ns == 0:
        return False
    neighbours = message.frame.sequence - last.frame.sequence == 1
    return end_ns < start_ns or (neighbours and end_ns - start_ns - waited_ns > _JUMP_NS)
