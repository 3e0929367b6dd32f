"""An RF frame in the live server, with its source, times and session."""

from __future__ import annotations

from dataclasses import dataclass

from usert.frame import RFFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameStamp:
    """Number and times of a frame, as its source stamped it."""

    sequence: int
    time_ns: int
    """Monotonic clock of the source; see `StrainMessage.source_clock`."""
    acquired_ns: int
    """Wall clock of the source, 0 when unknown: for the record, never for an age."""

    @classmethod
    def of(cls, frame: RFFrame) -> FrameStamp:
        """The stamp of `frame`."""
        return cls(sequence=frame.sequence, time_ns=frame.time_ns, acquired_ns=frame.acquired_ns)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReceivedFrame:
    """One frame of one source."""

    frame: RFFrame
    stream: str
    """Name of the source."""
    clock: str
    """Name of the monotonic clock behind `frame.time_ns`; empty when unknown."""
    received_ns: int
    """Time of its arrival, by the server's monotonic clock."""
    session: int
    """Number of the session: frames of one may be paired; it changes when the source starts again or its geometry does.
    """
    session_reason: str = ""
    """Why the session began, in a few words."""

    @property
    def stamp(self) -> FrameStamp:
        """Number and times of the frame."""
        return FrameStamp.of(self.frame)
