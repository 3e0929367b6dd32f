"""The age of an image: the clocks of the times on the wire, the age itself, and rate and ages of a stream.

Invariants: times are subtracted only when both were read from one monotonic clock, so the wall clocks of two machines
are never compared; an age that cannot be known exactly is a lower bound, and says so.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .strain_message import StrainMessage

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
WINDOW_S = 2.0
"""Seconds that the rate of a meter is taken over."""
MAX_AGES = 8192
"""Most ages that the percentiles of a meter are taken over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """Time since the current frame of an image was complete at its source."""

    ms: float
    exact: bool
    """False: `ms` is a lower bound, without the time of transmission between two clocks."""

    def __str__(self) -> str:
        return f"{'' if self.exact else '>'}{self.ms:.0f} ms"


def now_ns() -> int:
    """The monotonic clock of this machine, in nanoseconds."""
    return time.monotonic_ns()


@cache
def clock_id() -> str:
    """Name of the clock that `now_ns` reads; two processes with equal names read one clock.

    On Linux the boot id, because CLOCK_MONOTONIC is one clock for all processes of one boot; elsewhere a name
    of this process alone, which makes the ages of other processes' frames lower bounds.
    """
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return uuid.uuid4().hex


def age_at_server(*, time_ns: int, received_ns: int, now_ns: int, same_clock: bool) -> Age:
    """Age of a frame on the server.

    `time_ns` is the stamp of its source, of the server's clock if `same_clock`; `received_ns` and `now_ns` are of the
    server's clock. A stamp of 0, or one later than the reception, is not used: the age is a lower bound then.
    """
    exact = same_clock and 0 < time_ns <= received_ns
    return Age(ms=(now_ns - (time_ns if exact else received_ns)) / 1e6, exact=exact)


def age_of(message: StrainMessage, arrived_ns: int, now_ns: int, clock: str) -> Age:
    """Age of the current frame of an image at a client.

    `arrived_ns`, when `message` arrived, and `now_ns` are of the client's clock, whose name is `clock`. The age is
    exact where source, server and client share a clock, else a lower bound.
    """
    time_ns = message.current.time_ns
    from_source = time_ns if 0 < time_ns <= message.received_ns else 0
    if message.server_clock == clock:
        if message.source_clock == clock and from_source:
            return Age(ms=(now_ns - from_source) / 1e6, exact=True)
        return Age(ms=(now_ns - message.received_ns) / 1e6, exact=False)
    same = message.source_clock == message.server_clock and from_source
    before_ns = message.published_ns - (from_source if same else message.received_ns)
    return Age(ms=(before_ns + now_ns - arrived_ns) / 1e6, exact=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Rate and ages of a stream of images at one moment."""

    count: int
    """Images since the start."""
    rate_hz: float
    """Images a second over the last `WINDOW_S` seconds; 0 where there were none."""
    mean_rate_hz: float
    """Images a second from the first to the last."""
    age_p50_ms: float
    """Median age; NaN before the first image with an age."""
    age_p99_ms: float
    ages_exact: bool
    """Whether all ages are exact; otherwise some are lower bounds."""

    def __str__(self) -> str:
        images = f"{self.count} image{'' if self.count == 1 else 's'}"
        if self.count == 0:
            return images
        if math.isnan(self.age_p50_ms):
            return f"{images}, none of them live"
        p50, p99 = (str(Age(ms=ms, exact=self.ages_exact)) for ms in (self.age_p50_ms, self.age_p99_ms))
        rate = f" ({self.mean_rate_hz:.1f} a second)" if self.count > 1 else ""
        return f"{images}{rate}, age p50 {p50} p99 {p99}"


class Meter:
    """Rate and ages of a stream of images; thread-safe, in bounded memory.

    Only live images have an age here: one that is shown again would tell for how long, not how fast images come.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: deque[int] = deque()
        self._ages: deque[float] = deque(maxlen=MAX_AGES)
        self._count = self._first_ns = self._last_ns = 0
        self._exact = True

    def add(self, time_ns: int, age: Age | None) -> None:
        """Count an image at `time_ns` of the monotonic clock; `age` is None for one that is shown again."""
        with self._lock:
            self._first_ns = self._first_ns if self._count else time_ns
            self._last_ns = time_ns
            self._count += 1
            self._times.append(time_ns)
            self._forget(time_ns)
            if age is not None:
                self._ages.append(age.ms)
                self._exact &= age.exact

    def _forget(self, now_ns: int) -> None:
        while self._times and now_ns - self._times[0] > WINDOW_S * 1e9:
            self._times.popleft()

    def read(self, now_ns: int) -> Readings:
        """Rate and ages at `now_ns` of the monotonic clock."""
        with self._lock:
            self._forget(now_ns)
            window_s = (now_ns - self._times[0]) / 1e9 if self._times else 0.0
            span_s = (self._last_ns - self._first_ns) / 1e9
            ages = sorted(self._ages)
            return Readings(
                count=self._count,
                rate_hz=(len(self._times) - 1) / window_s if window_s > 0 else 0.0,
                mean_rate_hz=(self._count - 1) / span_s if span_s > 0 else 0.0,
                age_p50_ms=nearest_rank(ages, 0.50),
                age_p99_ms=nearest_rank(ages, 0.99),
                ages_exact=self._exact,
            )


def nearest_rank(ordered: list[float], share: float) -> float:
    """The smallest value that `share` of the `ordered` ones do not exceed; NaN where there are none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan
