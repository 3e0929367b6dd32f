"""The gaps of a record: runs of frames and images that were received and not written.

Invariant: every missing item is in exactly one run and in the counts, and no run spans an item that was written; so the
number of runs grows with the changes between writing and missing, not with the missing items.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

from ..protocol.age import now_ns

What = Literal["frame", "image"]
Reason = Literal["queue full", "disk full", "write failed", "unfit", "no file", "too many files", "closed"]
"""`queue full`: the disk was too slow. `disk full`: too little space would have been left. `write failed`: a write
failed, now or just before. `unfit`: the shape is not that of the session. `no file`: no frame of the image's session is
on file. `too many files`: the record has its largest number of files. `closed`: the recorder closed before it was
written."""


@dataclass(slots=True, kw_only=True)
class Gap:
    """A run of missing items."""

    what: What
    session: int
    reason: Reason
    first: int
    """Sequence number of the frame, or of the image's current frame."""
    last: int = 0
    count: int = 0
    """Number of items received from `first` to `last`, none of which is on record."""
    since_ns: int
    """The server's monotonic clock at the first missing item."""
    until_ns: int = 0
    """The server's monotonic clock at the last missing item."""


class Gaps:
    """Collects gaps and counts missing items; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: list[Gap] = []
        self._growing: dict[tuple[What, int, Reason], Gap] = {}
        self._counts: dict[What, dict[str, int]] = {"frame": {}, "image": {}}

    def miss(self, what: What, session: int, sequence: int, reason: Reason) -> None:
        """Count one missing item, and extend or begin its run."""
        now = now_ns()
        with self._lock:
            counts = self._counts[what]
            counts[reason] = counts.get(reason, 0) + 1
            run = self._growing.get((what, session, reason))
            if run is None:
                run = Gap(what=what, session=session, reason=reason, first=sequence, since_ns=now)
                self._growing[what, session, reason] = run
                self._runs.append(run)
            run.last, run.until_ns = sequence, now
            run.count += 1

    def end(self, what: What, *, queued: bool) -> None:
        """End the runs of this kind: an item was queued, those with a full queue; or one was written, the others."""
        with self._lock:
            for key in list(self._growing):
                if key[0] == what and (key[2] == "queue full") == queued:
                    del self._growing[key]

    def take(self, *, quiet_ns: int = 0) -> list[Gap]:
        """The finished runs since the last call; none while the newest missing item is younger than `quiet_ns`."""
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
