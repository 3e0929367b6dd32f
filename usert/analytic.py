"""Analytic signal, envelope and B-mode of RF samples.

Knows arrays only, no frames or files. Every function works along depth, the last axis but one, each scan line by
itself, so a sample that is not finite spoils its line and no other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def analytic_signal(rf: NDArray[Any]) -> NDArray[np.complex64]:
    """Analytic signal (…, N, M) of RF (…, N, M), complex64: its real part is the RF, its negative frequencies are 0.

    By FFT over the whole line, as `scipy.signal.hilbert`.
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
    """Envelope (…, N, M) of RF or complex IQ (…, N, M), float32, in the unit of the samples.

    It is the magnitude of the analytic signal of RF, and that of IQ as it is.
    """
    signal = rf if np.iscomplexobj(rf) else analytic_signal(rf)
    return np.abs(signal).astype(np.float32, copy=False)


def b_mode(rf: NDArray[Any], dynamic_range_db: float = 60.0) -> NDArray[np.float32]:
    """B-mode (…, N, M) of RF or IQ (…, N, M), float32: dB relative to the brightest, down to -`dynamic_range_db`.

    A frame of zeros is dark throughout. The mean of each line is subtracted first, since an offset is no echo. Errors:
    `ValueError` for a range that is not above 0.
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
    """Taps (length,) of an FIR Hilbert transformer: 2 / (π n) for odd n, else 0, under a Kaiser window of shape `beta`.

    Linear phase (type III): antisymmetric, delay (length - 1) / 2. To be convolved with; where a library correlates
    (torch, ONNX `Conv`), reverse or negate it. With the defaults the gain is within 2e-4 of 1 from 0.05 to 0.45 cycles
    a sample (f0 / fs of RF is about 0.15). Errors: `ValueError` for a length other than 4 k + 3, whose outermost taps
    would be 0.
    """
    if length < 3 or length % 4 != 3:
        raise ValueError(f"length: got {length}, expected 4 k + 3 (3, 7, …, 63, …)")
    n = np.arange(length) - length // 2
    odd = n % 2 != 0
    taps = np.zeros(length)
    taps[odd] = 2 / (np.pi * n[odd])
    return taps * np.kaiser(length, beta)
