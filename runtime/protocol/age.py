"""Times on the wire: which clock a time was read from, and the age that follows from it.

Knows no sockets and no messages. Invariant: times are subtracted only when both were read from one monotonic
clock; the wall clocks of two machines are never compared. An age that cannot be known exactly is a lower
bound and says so.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """How long ago the current frame of an image was complete at its source."""

    ms: float
    exact: bool
    """False: the time on the way between two clocks is missing, and the true age is higher."""

    def __str__(self) -> str:
        return f"{'' if self.exact else '>'}{self.ms:.0f} ms"


def now_ns() -> int:
    """The monotonic clock of this machine, in nanoseconds."""
    return time.monotonic_ns()


@cache
def clock_id() -> str:
    """Name of the clock behind `now_ns`: two equal names are one clock.

    On Linux the boot id, because CLOCK_MONOTONIC is one clock for all processes of one boot; elsewhere a name
    of this process alone, which makes the ages of other processes' frames lower bounds.
    """
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return uuid.uuid4().hex


def age_at_server(*, time_ns: int, received_ns: int, now_ns: int, same_clock: bool) -> Age:
    """Age at `now_ns` on the server, of a frame stamped `time_ns` by its source, received at `received_ns`.

    A stamp of 0, or one later than its own reception, is not believed.
    """
    exact = same_clock and 0 < time_ns <= received_ns
    return Age(ms=(now_ns - (time_ns if exact else received_ns)) / 1e6, exact=exact)
