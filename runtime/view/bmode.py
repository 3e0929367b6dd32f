"""B-mode of RF frames for the screen: log-compressed envelope, in bytes.

The brightest shade follows the frames slowly, or speckle would flicker.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.frame import RFFrame, Scan

from .planes import MOST_BMODE, Plane, steps

RANGE_DB = 50.0
_BRIGHT_PERCENT = 99.9
_FOLLOWING = 0.1
"""Share of the way to the brightness of the newest frame that each frame adds."""


class BMode:
    """Makes B-mode planes of consecutive frames."""

    def __init__(self) -> None:
        self._level_db: float | None = None
        self._of: tuple[Scan, tuple[int, int]] | None = None

    def plane(self, frame: RFFrame) -> Plane:
        """The B-mode of `frame`: 255 at the brightest shade, 0 at `RANGE_DB` below it and darker."""
        across = steps(frame.shape, MOST_BMODE)[1]
        amplitude, down = reduced_envelope(frame.signal[:, ::across])
        level_db = 20 * np.log10(np.maximum(amplitude, 1e-9))
        self._follow(frame, level_db)
        unit = 1 + (level_db - (self._level_db or 0.0)) / RANGE_DB
        values = np.rint(255 * np.clip(unit, 0, 1)).astype(np.uint8)
        return Plane(name="bmode", values=values, step=(down, across))

    def _follow(self, frame: RFFrame, level_db: NDArray[Any]) -> None:
        bright = float(np.percentile(level_db[::4, ::2], _BRIGHT_PERCENT))
        if self._level_db is None or self._of != (frame.scan, frame.shape):
            self._of, self._level_db = (frame.scan, frame.shape), bright
        else:
            self._level_db += _FOLLOWING * (bright - self._level_db)


def reduced_envelope(rf: NDArray[Any]) -> tuple[NDArray[np.float32], int]:
    """Envelope of RF (N, M), or of complex IQ, at every k-th sample, with at most `MOST_BMODE` rows, and k.

    An analytic signal has positive frequencies only, so half of its samples, from half of its spectrum, tell its
    magnitude: as `usert.analytic.envelope`, in half the time. Where still fewer are wanted, neighbours are averaged.
    """
    amplitude, down = (np.abs(rf.T), 1) if np.iscomplexobj(rf) else _analytic_magnitude(rf)
    more = math.ceil(amplitude.shape[1] / MOST_BMODE[0])
    if more > 1:
        rows = amplitude.shape[1] // more
        amplitude = amplitude[:, : rows * more].reshape(len(amplitude), rows, more).mean(axis=2)
    return np.ascontiguousarray(amplitude.T), down * more


def _analytic_magnitude(rf: NDArray[Any]) -> tuple[NDArray[np.float32], int]:
    """(M, N) or, where N is even and more than is shown, (M, N / 2); and over how many samples its rows lie."""
    lines = np.ascontiguousarray(rf.T, np.float32)
    lines -= lines.mean(axis=1, keepdims=True)
    count = lines.shape[1]
    half = max(1, count // 2)
    spectrum = np.fft.rfft(lines, axis=1)[:, :half]
    spectrum[:, 1:] *= 2
    size, down = (half, 2) if count > MOST_BMODE[0] and count % 2 == 0 else (count, 1)
    signal = np.fft.ifft(spectrum, n=size, axis=1) * (size / count)
    return np.abs(signal).astype(np.float32, copy=False), down
