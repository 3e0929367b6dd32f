"""Faults counted by kind: each distinct one is logged at once, and when it repeats once a minute with its number."""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

PERIOD_S = 60.0
"""Least time between two log lines about one distinct fault that repeats."""
MOST_DETAILS = 16
"""Distinct faults of a kind that are told apart; further ones of the kind are logged together."""
MOST_KINDS = 64
"""Kinds that are told apart; further ones are counted as `OTHER`."""
OTHER = "other"
_MOST_LETTERS = 512
"""Letters of a detail that are logged."""
_GOT = re.compile("got .*?(?=, expected|$)", re.DOTALL)
"""The value in an error, which may differ in each message with the same fault."""


@dataclass(slots=True)
class _Fault:
    """One distinct fault."""

    logged_s: float
    """When a line about it was last logged."""
    repeated: int = 0
    """How often it came since then."""
    newest: str = ""


@dataclass(slots=True)
class _Kind:
    """The faults of one kind."""

    count: int = 0
    faults: dict[str, _Fault] = field(default_factory=dict)
    """By the detail without the value that was got; those beyond `MOST_DETAILS` as `OTHER`."""


class FaultCounter:
    """Counts faults by kind, and logs warnings about them. Thread-safe.

    Faults are distinct when their kinds differ, or their details beside the value after `got`. The first `MOST_DETAILS`
    distinct ones of a kind are logged when they first come. When one repeats, the number is logged with the newest
    detail, at most once in `PERIOD_S`; so is that of all further faults of the kind together.
    """

    def __init__(
        self, log: logging.Logger, what: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`what`: the words with which the log lines begin, such as `malformed message`. `clock` counts seconds."""
        self._log = log
        self._what = what
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}
        self._due_s = math.inf
        """When the next number is to be logged."""
        self._lock = threading.Lock()

    def add(self, kind: str, detail: str) -> None:
        """Count one fault of `kind`, and log it with `detail` if it is a new one, or a minute has passed."""
        detail, now_s = detail[:_MOST_LETTERS], self._clock()
        distinct = _GOT.sub("got", detail)
        with self._lock:
            if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
                kind = OTHER
            faults_of = self._kinds.setdefault(kind, _Kind())
            faults_of.count += 1
            faults = faults_of.faults
            new = distinct not in faults and len(faults) < MOST_DETAILS
            if distinct not in faults and not new:
                distinct = OTHER
            fault = faults.setdefault(distinct, _Fault(logged_s=now_s))
            if not new:
                fault.repeated += 1
                fault.newest = detail
                self._due_s = min(self._due_s, fault.logged_s + PERIOD_S)
        if new:
            self._log.warning("%s (%s): %s", self._what, kind, detail)
        else:
            self.log_repeated()

    def log_repeated(self) -> None:
        """Log the number of each fault that repeated and whose minute has passed. Cheap where there are none."""
        now_s, lines = self._clock(), []
        if now_s < self._due_s:
            return
        with self._lock:
            self._due_s = math.inf
            for kind, faults_of in self._kinds.items():
                for fault in faults_of.faults.values():
                    if fault.repeated and now_s - fault.logged_s >= PERIOD_S:
                        lines.append((kind, fault.repeated, _span(now_s - fault.logged_s), fault.newest))
                        fault.repeated, fault.logged_s = 0, now_s
                    elif fault.repeated:
                        self._due_s = min(self._due_s, fault.logged_s + PERIOD_S)
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
