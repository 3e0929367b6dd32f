"""Faults counted by kind, of which only the first of each kind is logged.

Invariant: neither the counts nor the log grow with the number of faults, only with the number of their kinds.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping


class FaultCounter:
    """Counts faults by kind, and logs a warning at the first of each kind. Thread-safe."""

    def __init__(self, log: logging.Logger, what: str) -> None:
        """`what`: the words with which the log lines begin, such as `malformed message`."""
        self._log = log
        self._what = what
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, kind: str, detail: str) -> None:
        """Count one fault of `kind`, and log it with `detail` if it is the first."""
        with self._lock:
            first = kind not in self._counts
            self._counts[kind] = self._counts.get(kind, 0) + 1
        if first:
            self._log.warning("%s (%s): %s; more of this kind are only counted", self._what, kind, detail)

    @property
    def counts(self) -> dict[str, int]:
        """A copy of the counts by kind."""
        with self._lock:
            return dict(self._counts)

    @property
    def total(self) -> int:
        """The sum of the counts over all kinds."""
        return sum(self.counts.values())


def by_kind(counts: Mapping[str, int]) -> str:
    """Counts as a person reads them, such as `3 (size 2, version 1)`."""
    if not counts:
        return "0"
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
    return f"{sum(counts.values())} ({kinds})"
