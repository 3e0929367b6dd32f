"""Frames of IQ in turn, of a recording or live, until two of them show along which axis depth lies.

Knows samples, a `Scan` and the time of a frame. Invariant: what two frames showed is not asked again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from ..frame import Scan
from .axes import lines_first
from .signal import Signal

LINES_FIRST = Signal(
    kind="lines_first",
    line="looks like IQ with lines first (its phase turns with the motion across the lines): --transpose",
)
"""What is found of IQ with lines first that moved."""
_AFTER = (1, 2, 4, 8)
"""Frames after the one that they are compared with: some of them moved enough, and little enough."""
_COMPARED = (0, 9, 18, 36, 72)
"""Frames of a recording that those after them are compared with."""
_EVERY_NS, _SELDOM_NS = 1_000_000_000, 64_000_000_000
"""Between the frames of a live session that others are compared with: at first, and at most."""


def check_axes(frames: Iterable[NDArray[Any]], scan: Scan) -> Signal:
    """Whether the motion between some frames of IQ (N, M, 2) is that of frames with lines first: `LINES_FIRST`, or
    kind `iq` where it is not, or where nothing moved.

    Reads up to 81 frames, and as a rule two: up to the first that moved. Some 10 ms for each of up to 20 looks.
    """
    kept: NDArray[Any] | None = None
    at = 0
    for number, samples in enumerate(itertools.islice(frames, _COMPARED[-1] + _AFTER[-1] + 1)):
        if number in _COMPARED:
            kept, at = samples, number
        elif kept is not None and number - at in _AFTER:
            across = lines_first(kept, samples, scan)
            if across is not None:
                return LINES_FIRST if across else Signal(kind="iq")
    return Signal(kind="iq")


class AxesWatch:
    """Compares frames of one live session of IQ until two of them show along which axis depth lies.

    Of a session that does not move, four frames in a row at first and ever more seldom, up to once in 64 s.
    """

    def __init__(self) -> None:
        self._kept: NDArray[Any] | None = None
        self._frames = 0
        self._next_ns: int | None = None
        self._every_ns = _EVERY_NS
        self._decided = False

    def look(self, samples: NDArray[Any], scan: Scan, time_ns: int) -> bool:
        """Whether these samples (N, M, 2), beside earlier ones, show lines first; true once at most.

        `time_ns` is when they were received, by any clock.
        """
        if self._decided or scan.kind == "rf":
            return False
        if self._kept is None:
            if self._next_ns is None or time_ns >= self._next_ns:
                self._kept, self._frames = samples, 0
            return False
        self._frames += 1
        if self._frames not in _AFTER:
            return False
        across = lines_first(self._kept, samples, scan)
        if across is not None:
            self._decided = True
        if self._decided or self._frames == _AFTER[-1]:
            self._kept, self._next_ns = None, time_ns + self._every_ns
            self._every_ns = min(2 * self._every_ns, _SELDOM_NS)
        return across is True
