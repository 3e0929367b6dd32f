"""An RF frame as the live server holds it: where it came from, when, and in which session."""

from __future__ import annotations

from dataclasses import dataclass

from usert.frame import RFFrame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReceivedFrame:
    """One frame of one source."""

    frame: RFFrame
    stream: str
    """Names the source."""
    clock: str
    """Name of the monotonic clock behind `frame.time_ns`; empty when unknown."""
    received_ns: int
    """When it had arrived, by the server's monotonic clock."""
    session: int
    """Frames of one session may be paired; it changes whenever the source starts again or changes its geometry."""
