"""A look at the samples of a frame: are they RF, or IQ, of the frequencies that were told?

Knows samples and a `Scan`; no file and no socket. Invariant: a frame is refused only where its samples look like
something else, never for a weak or unusual echo alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from ..frame import Scan
from .axes_check import LINES_FIRST, AxesWatch, check_axes
from .iq import check_iq
from .live import for_header
from .motion import check_motion
from .rf import check_rf
from .signal import Signal, SignalKind

__all__ = [
    "LINES_FIRST",
    "AxesWatch",
    "Signal",
    "SignalKind",
    "check_axes",
    "check_frames",
    "check_motion",
    "check_signal",
    "for_header",
]


def check_signal(samples: NDArray[Any], scan: Scan) -> Signal:
    """Compare samples of any real type, RF (N, M) or IQ (N, M, 2) as `scan` states, with its frequencies.

    Takes a few milliseconds.
    """
    return check_rf(samples, scan) if scan.kind == "rf" else check_iq(samples, scan)


def check_frames(frames: Iterable[NDArray[Any]], scan: Scan, *, judged: int = 3) -> Signal:
    """Look at `frames` until `judged` of them could be judged; the result is refused only where all of these are.

    Where they differ, the first that is not refused; without any that could be judged, the last one.
    """
    found: list[Signal] = []
    signal = Signal(kind="blank")
    for samples in frames:
        signal = check_signal(samples, scan)
        if signal.judged:
            found.append(signal)
        if len(found) == judged:
            break
    return next((good for good in found if not good.refused), found[0] if found else signal)
