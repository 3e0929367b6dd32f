"""What a record lacks: frames and images that were received and not written, in runs.

Knows nothing of files. Invariant: every miss is in exactly one run and in the counts, and no run spans something that
was written; so the runs grow with the changes between writing and missing, not with the misses.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

from ..protocol.age import now_ns

What = Literal["frame", "image"]
Reason = Literal["queue full", "disk full", "write failed", "unfit", "no file", "too many files", "closed"]
"""`queue full`: the disk was too slow. `disk full`: too little would have been left free. `write failed`: the disk
refused, now or just before. `unfit`: not of the shape of its session. `no file`: an image without a frame of its
session on file. `too many files`: a session too many. `closed`: at the end, too late to be written."""


@dataclass(slots=True, kw_only=True)
class Gap:
    """A run of misses."""

    what: What
    session: int
    reason: Reason
    first: int
    """Sequence number of the frame, or of the image's current frame."""
    last: int
    count: int
    """How many from `first` to `last` were received, none of which is on record."""
    since_ns: int
    """The server's monotonic clock at the first miss."""
    until_ns: int
    """And at the last."""


class Gaps:
    """Runs and counts; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: list[Gap] = []
        self._growing: dict[tuple[What, int, Reason], Gap] = {}
        self._counts: dict[What, dict[str, int]] = {"frame": {}, "image": {}}

    def miss(self, what: What, session: int, sequence: int, reason: Reason) -> None:
        """Count one."""
        now = now_ns()
        with self._lock:
            counts = self._counts[what]
            counts[reason] = counts.get(reason, 0) + 1
            run = self._growing.get((what, session, reason))
            if run is None:
                run = Gap(
                    what=what,
                    session=session,
                    reason=reason,
                    first=sequence,
                    last=sequence,
                    count=0,
                    since_ns=now,
                    until_ns=now,
                )
                self._growing[what, session, reason] = run
                self._runs.append(run)
            run.last, run.until_ns = sequence, now
            run.count += 1

    def queued(self, what: What) -> None:
        """Something of this kind is on its way: the next that finds the queue full begins a new run."""
        self._end(what, queued=True)

    def written(self, what: What) -> None:
        """Something of this kind is on record: the next that is not, though it was queued, begins a new run."""
        self._end(what, queued=False)

    def _end(self, what: What, *, queued: bool) -> None:
        with self._lock:
            for key in list(self._growing):
                if key[0] == what and (key[2] == "queue full") == queued:
                    del self._growing[key]

    def take(self, *, quiet_ns: int = 0) -> list[Gap]:
        """The runs since the last call, which grow no more; none while the last miss is younger than `quiet_ns`."""
        with self._lock:
            if self._runs and now_ns() - max(run.until_ns for run in self._runs) < quiet_ns:
                return []
            runs, self._runs = self._runs, []
            self._growing.clear()
            return runs

    def counts(self, what: What) -> dict[str, int]:
        """A copy of the counts by reason."""
        with self._lock:
            return dict(self._counts[what])
