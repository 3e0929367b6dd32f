"""When to run the engine in a pause of the stream, for nothing but the speed of the first image after it.

A frame that comes during such a run waits for its end, so it pays only where the first run after a pause is late by
more than that: on a CPU it is not (`benchmarks/keep_warm.py`). Knows times only; whoever asks runs the engine, and
throws the answer away. Invariant: nothing is due while frames come, before the first of them, or longer than `most_s`
after the last.
"""

from __future__ import annotations

import math

from usert.errors import OptionError

MOST_S = 600.0
"""A probe that lay longer than this was put away."""


class KeepWarm:
    """Of one engine; from one thread. Times are of one monotonic clock."""

    def __init__(self, every_s: float, most_s: float = MOST_S) -> None:
        """`every_s`: between two runs, and from the last frame to the first of them; 0: never."""
        for name, value in (("every", every_s), ("most", most_s)):
            if not 0 <= value < math.inf:
                raise OptionError(f"keep warm: {name}: got {value:g} s, expected 0 or more")
        self._every_ns = round(1e9 * every_s)
        self._most_ns = round(1e9 * most_s)
        self._frame_ns: int | None = None
        self._busy_ns = 0
        """When the engine was last known to run."""

    def frame(self, now_ns: int) -> None:
        """The engine has run a pair, as it should."""
        self._frame_ns = self._busy_ns = now_ns

    def ran(self, now_ns: int) -> None:
        """A run that was due has ended, well or not; told at its end, a slow engine leaves time between two."""
        self._busy_ns = now_ns

    def due(self, now_ns: int) -> bool:
        """Whether to run now. Stays so until `ran` or `frame`."""
        if self._every_ns == 0 or self._frame_ns is None:
            return False
        return now_ns - self._busy_ns >= self._every_ns and now_ns - self._frame_ns <= self._most_ns
