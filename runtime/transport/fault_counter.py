"""Faults counted by kind: each distinct one is logged at once, those that repeat once a minute with their number."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

PERIOD_S = 60.0
"""Least time between two log lines about faults of one kind that repeat."""
MOST_DETAILS = 8
"""Distinct details of a kind that are logged at once, each when it first comes."""
MOST_KINDS = 64
"""Kinds that are told apart; further ones are counted as `OTHER`."""
OTHER = "other"
_MOST_LETTERS = 512
"""Letters of a detail that are logged."""


@dataclass(slots=True)
class _Kind:
    """The faults of one kind."""

    logged_s: float
    """When a line about the kind was last logged."""
    count: int = 0
    repeated: int = 0
    """Faults since then that were not logged."""
    newest: str = ""
    details: set[str] = field(default_factory=set)
    """Details that were logged at once."""


class FaultCounter:
    """Counts faults by kind, and logs warnings about them. Thread-safe.

    The first `MOST_DETAILS` distinct details of a kind are logged when they first come. Whatever else comes of that
    kind is logged as a number, with the newest detail, at most once in `PERIOD_S`.
    """

    def __init__(
        self, log: logging.Logger, what: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`what`: the words with which the log lines begin, such as `malformed message`. `clock` counts seconds."""
        self._log = log
        self._what = what
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}
        self._repeated = False
        """Whether faults of any kind wait to be logged as a number."""
        self._lock = threading.Lock()

    def add(self, kind: str, detail: str) -> None:
        """Count one fault of `kind`, and log it with `detail` if the detail is new, or a minute has passed."""
        detail, now_s = detail[:_MOST_LETTERS], self._clock()
        with self._lock:
            if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
                kind = OTHER
            faults = self._kinds.setdefault(kind, _Kind(logged_s=now_s))
            faults.count += 1
            new = detail not in faults.details and len(faults.details) < MOST_DETAILS
            if new:
                faults.details.add(detail)
                if not faults.repeated:
                    faults.logged_s = now_s
            else:
                faults.repeated += 1
                faults.newest, self._repeated = detail, True
        if new:
            self._log.warning("%s (%s): %s", self._what, kind, detail)
        else:
            self.log_repeated()

    def log_repeated(self) -> None:
        """Log the number of faults that repeated, for each kind whose minute has passed. Cheap where there are none."""
        if not self._repeated:
            return
        now_s, lines = self._clock(), []
        with self._lock:
            for kind, faults in self._kinds.items():
                if faults.repeated and now_s - faults.logged_s >= PERIOD_S:
                    lines.append((kind, faults.repeated, _span(now_s - faults.logged_s), faults.newest))
                    faults.repeated, faults.logged_s = 0, now_s
            self._repeated = any(faults.repeated for faults in self._kinds.values())
        for line in lines:
            self._log.warning("%s (%s): %d more in the last %s, the newest: %s", self._what, *line)

    @property
    def counts(self) -> dict[str, int]:
        """A copy of the counts by kind."""
        with self._lock:
            return {kind: faults.count for kind, faults in self._kinds.items()}

    @property
    def total(self) -> int:
        """The sum of the counts over all kinds."""
        return sum(self.counts.values())


def _span(elapsed_s: float) -> str:
    minutes = round(elapsed_s / PERIOD_S)
    return "minute" if minutes <= 1 else f"{minutes} minutes"


def by_kind(counts: Mapping[str, int]) -> str:
    """Counts as a person reads them, such as `3 (size 2, version 1)`."""
    if not counts:
        return "0"
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
    return f"{sum(counts.values())} ({kinds})"
