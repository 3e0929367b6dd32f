"""What a live server has done so far, at one moment.

Knows no sockets. Invariant: received = duplicates + late + turned_away + dropped + used + waiting, and used = unpaired
+ failed + published.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..protocol.age import Readings


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats:
    """Counts since the server opened."""

    received: int
    """Well-formed frames."""
    dropped: int
    """Replaced by a newer frame before the engine was free."""
    lost: int
    """Missing in the sequence numbers: they never arrived."""
    malformed: dict[str, int]
    """Messages that broke the protocol, by fault."""
    sessions: int
    unpaired: int
    """Frames without an allowed reference, such as the first of a session."""
    failed: dict[str, int]
    """Pairs that the engine refused or failed at, by error."""
    published: int
    duplicates: int = 0
    """Frames that came before."""
    late: int = 0
    """Frames that a newer one had overtaken on the way."""
    turned_away: int = 0
    """Frames of a source too many, or of one with the name of another."""
    clock_jumps: int = 0
    """Times that a source's clock fell or leapt while its frames went on."""
    missed_deadlines: int = 0
    """Live images that were older than the deadline when they were published."""
    streams: int = 0
    """Sources that have a place now."""
    output: Readings
    """Rate, and age at publication."""

    def __str__(self) -> str:
        unused = {"duplicates": self.duplicates, "late": self.late, "turned away": self.turned_away}
        told = "".join(f", {what} {count}" for what, count in unused.items() if count)
        return (
            f"{self.received} frames received, {self.output}, dropped {self.dropped}, lost {self.lost}, "
            f"unpaired {self.unpaired}, failed {by_kind(self.failed)}, malformed {by_kind(self.malformed)}, "
            f"sessions {self.sessions}{told}"
        )


def by_kind(counts: dict[str, int]) -> str:
    """Such as `3 (size 2, version 1)`."""
    if not counts:
        return "0"
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
    return f"{sum(counts.values())} ({kinds})"
