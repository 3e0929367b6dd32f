"""Small parts of a strain message: which frame an image came from, and what the server has counted.

Knows header keys, not messages. Invariant: what `fields` writes, `from_header` reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from usert.frame import RFFrame

from .header import Header


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameStamp:
    """Which frame an image came from, as its source stamped it."""

    sequence: int
    time_ns: int
    """Monotonic clock of the source; see `StrainMessage.source_clock`."""
    acquired_ns: int
    """Wall clock of the source, 0 when unknown: for the record, never for an age."""

    @classmethod
    def of(cls, frame: RFFrame) -> FrameStamp:
        """The stamp of `frame`."""
        return cls(sequence=frame.sequence, time_ns=frame.time_ns, acquired_ns=frame.acquired_ns)

    @classmethod
    def from_header(cls, header: Header) -> FrameStamp:
        """The stamp from three header keys."""
        return cls(**{key: header.integer(key) for key in cls.__slots__})

    def fields(self) -> dict[str, int]:
        """The stamp as header keys."""
        return {key: getattr(self, key) for key in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """The server's counts since it opened, this image included, over all its sources."""

    received: int
    """Well-formed RF frames."""
    dropped: int
    """Frames received that a newer one replaced before the engine was free."""
    malformed: int
    """Messages that broke the protocol."""
    published: int
    """Strain images."""
    lost: int = 0
    """Missing in the sequence numbers: they never arrived."""
    duplicates: int = 0
    """Frames that came twice; the second is not used."""
    late: int = 0
    """Frames that came after a newer one; they are not used."""
    failed: int = 0
    """Pairs that the engine refused or failed at."""
    missed_deadlines: int = 0
    """Images that were older than `deadline_ms` when they were published."""

    @classmethod
    def from_header(cls, header: Header) -> Counters:
        """The counts that are there; those from `lost` on came later than the others."""
        return cls(**{key: header.integer(key) for key in cls.__slots__ if key in _FIRST or key in header})

    def fields(self) -> dict[str, Any]:
        """The counts as header keys."""
        return {key: getattr(self, key) for key in self.__slots__}


_FIRST = ("received", "dropped", "malformed", "published")
