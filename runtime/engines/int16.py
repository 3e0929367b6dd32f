"""Conversion of a pair of frames to int16, as a graph takes them.

Invariant: both frames of a pair are scaled by one factor, which preserves their ratio.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.errors import FrameError
from usert.frame import check_shape

INT16_PEAK = 32767


def to_int16(reference: NDArray[Any], current: NDArray[Any]) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """The pair as int16: integers that fit are unchanged, other values are scaled to a largest |sample| of 32767.

    Errors: `FrameError` for frames of different or not two-dimensional shape, and for samples that are not real, not
    finite, or all equal.
    """
    if reference.shape != current.shape:
        raise FrameError(f"a pair: got shapes {reference.shape} and {current.shape}, expected one shape")
    named = (("reference", reference), ("current", current))
    for name, samples in named:
        _check_samples(name, samples)
    if all(_fits_int16(samples) for _, samples in named):
        pair = [samples.astype(np.int16, copy=False) for _, samples in named]
    else:
        peak = max(max(float(samples.max()), -float(samples.min())) for _, samples in named) or 1.0
        pair = [_scaled(samples, peak) for _, samples in named]
    for (name, _), samples in zip(named, pair, strict=True):
        if samples.min() == samples.max():
            raise FrameError(f"{name} frame: all samples are the same as int16, expected an RF signal")
    return pair[0], pair[1]


def _check_samples(name: str, samples: NDArray[Any]) -> None:
    check_shape(f"{name} frame", samples, "rf")
    if samples.dtype.kind not in "iuf":
        hint = "; IQ needs a scan with demodulation_hz" if samples.dtype.kind == "c" else ""
        raise FrameError(f"{name} frame: got dtype {samples.dtype}, expected integers or floats{hint}")
    if samples.dtype.kind == "f" and not (finite := np.isfinite(samples)).all():
        bad = finite.size - int(np.count_nonzero(finite))
        raise FrameError(f"{name} frame: {bad} of {samples.size} samples are NaN or infinite")


def _fits_int16(samples: NDArray[Any]) -> bool:
    if samples.dtype == np.int16:
        return True
    return (
        samples.dtype.kind in "iu" and samples.min() >= -INT16_PEAK - 1 and bool(samples.max() <= INT16_PEAK)
    )


def _scaled(samples: NDArray[Any], peak: float) -> NDArray[np.int16]:
    """Scale; divides before it multiplies, so that amplitudes of 1e-40, as of simulators, do not overflow."""
    unit = np.divide(samples, peak, dtype=np.result_type(samples, np.float32))
    unit *= INT16_PEAK
    scaled: NDArray[np.int16] = np.rint(unit, out=unit).astype(np.int16)
    return scaled
