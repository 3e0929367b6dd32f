"""From RF to what the eye and the network see: analytic signal, envelope, B-mode.

Knows arrays only, no frames or files. Invariant: every function works along depth, the last axis but one,
each scan line by itself. A sample that is not finite spoils its line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def analytic_signal(rf: NDArray[Any]) -> NDArray[np.complex64]:
    """(…, N, M) RF → the signal without its negative frequencies; its real part is the RF.

    By FFT over the whole line, as scipy.signal.hilbert.
    """
    rows = rf.shape[-2]
    spectrum = np.fft.fft(rf.astype(np.float64), axis=-2)
    gain = np.zeros(rows)
    gain[: (rows + 1) // 2] = 2
    gain[0] = 1
    if rows % 2 == 0:
        gain[rows // 2] = 1
    return np.fft.ifft(spectrum * gain[:, np.newaxis], axis=-2).astype(np.complex64)


def envelope(rf: NDArray[Any]) -> NDArray[np.float32]:
    """(…, N, M) RF → magnitude of its analytic signal; that of complex samples (IQ) as they are."""
    signal = rf if np.iscomplexobj(rf) else analytic_signal(rf)
    return np.abs(signal).astype(np.float32, copy=False)


def b_mode(rf: NDArray[Any], dynamic_range_db: float = 60.0) -> NDArray[np.float32]:
    """(…, N, M) RF, or complex IQ → decibels below the brightest sample, from -`dynamic_range_db` to 0.

    A frame of zeros is dark throughout. The mean of each line is taken out first: an offset is no echo.
    """
    if not dynamic_range_db > 0:
        raise ValueError(f"dynamic_range_db: got {dynamic_range_db}, expected above 0")
    samples = rf.astype(np.complex128 if np.iscomplexobj(rf) else np.float64)
    brightness = envelope(samples - samples.mean(axis=-2, keepdims=True))
    peak = float(np.nanmax(brightness)) if np.isfinite(brightness).any() else 0.0
    floor = 10 ** (-dynamic_range_db / 20)
    relative = brightness / peak if peak > 0 else np.zeros_like(brightness)
    decibels = np.maximum(20 * np.log10(np.maximum(relative, floor)), -dynamic_range_db)
    return np.asarray(decibels, np.float32)


def hilbert_taps(length: int = 63, beta: float = 8.0) -> NDArray[np.float64]:
    """(length,) FIR Hilbert transformer: the ideal response 2 / (π n) for odd n, under a Kaiser window.

    `length` is 4 k + 3, so that the outermost taps are not zero. Linear phase (type III): antisymmetric,
    every second tap zero, delay (length - 1) / 2. It is to be convolved with; where a library correlates
    (torch, ONNX `Conv`), reverse or negate it. With the defaults the gain is within 2e-4 of 1 from 0.05 to
    0.45 cycles a sample (f0 / fs of RF is about 0.15).
    """
    if length < 3 or length % 4 != 3:
        raise ValueError(f"length: got {length}, expected 4 k + 3 (3, 7, …, 63, …)")
    n = np.arange(length) - length // 2
    odd = n % 2 != 0
    taps = np.zeros(length)
    taps[odd] = 2 / (np.pi * n[odd])
    return taps * np.kaiser(length, beta)
