"""Names of streams as label values: few, whatever the network sends.

Knows no metrics. Invariant: there are never more than `most` labels and `OTHER`, each printable text, and what is kept
does not grow once they are given out.
"""

from __future__ import annotations

import threading

from usert.log_format import printable

MAX_LABELS = 32
"""Every one is a set of time series that a monitor keeps for weeks."""
OTHER = "other"


class StreamLabels:
    """Gives the first names that come a label each, in perpetuity; thread-safe."""

    def __init__(self, most: int = MAX_LABELS) -> None:
        self._most = most
        self._labels: dict[str, str] = {}
        self._lock = threading.Lock()

    def label(self, stream: str) -> str:
        """The label of `stream`: its name, with what is not printable escaped, or `OTHER`."""
        found = self._labels.get(stream)
        if found is not None:
            return found
        with self._lock:
            if len(self._labels) >= self._most:
                return self._labels.get(stream, OTHER)
            return self._labels.setdefault(stream, printable(stream))
