"""The counts of a live server since it opened, for its summary, its status, its metrics and its messages.

Invariant: received = duplicates + late + rejected + dropped + waiting + used; used = unpaired + failed + published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..protocol.age import Readings
from ..transport.fault_counter import by_kind


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCounts:
    """Well-formed frames of all sources, and what became of them before any was used."""

    received: int
    dropped: int
    """Frames that a newer one replaced before the engine was free."""
    used: int
    """Frames that were taken for a pair."""
    lost: int
    """Frames missing in the sequence numbers: they never arrived."""
    duplicates: int
    """Frames that had already been received."""
    late: int
    """Frames that a newer one had overtaken on the way."""
    rejected: int
    """Frames rejected because there are too many sources, or another source has that name."""
    clock_jumps: int
    """Number of times that a source's clock fell or leapt while its frames went on."""
    sessions: int
    """Sessions begun."""
    sources: int
    """Number of sources that are served now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCounts:
    """One reading of all counts."""

    frames: FrameCounts
    malformed: Mapping[str, int]
    """Messages that broke the protocol, by fault."""
    unpaired: int
    """Frames without an allowed reference, such as the first of a session."""
    failed: Mapping[str, int]
    """Pairs that the engine refused or failed at, by error."""
    published: int
    missed_deadlines: int
    """Live images that were older than the deadline when they were published."""

    def summary(self, output: Readings) -> str:
        """One line for the end of a run; `output`: rate and ages of the images."""
        frames = self.frames
        unused = {"duplicates": frames.duplicates, "late": frames.late, "rejected": frames.rejected}
        more = "".join(f", {what} {count}" for what, count in unused.items() if count)
        return (
            f"{frames.received} frames received, {output}, dropped {frames.dropped}, lost {frames.lost}, "
            f"unpaired {self.unpaired}, failed {by_kind(self.failed)}, malformed {by_kind(self.malformed)}, "
            f"sessions {frames.sessions}{more}"
        )
