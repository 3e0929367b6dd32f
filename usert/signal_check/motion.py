"""A look at two frames of IQ: does the phase of the echo turn with its motion as the demodulation frequency says?

An echo that lies d rows deeper in the second frame turns by -2π d f / fs, where f is the frequency by which it was
turned down; d itself is seen in the magnitude alone. So two frames that moved show what one cannot: a demodulation
frequency that is wrong, which scales the motion, and Q of the other sign, which reverses it. The bounds were tried on
public pairs and on simulated ones (`tests/core/test_signal_check_motion.py`). Knows samples and a `Scan`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frame import Scan, as_complex

_BLOCK_WAVELENGTHS, _BLOCK_LEAST, _BLOCK_LINES = 16, 24, 8
"""Of a block that is sought in the second frame: wavelengths along depth, rows at least, and lines."""
_MOST = (24, 16)
"""Blocks along depth and across."""
_REACH = 0.03
"""Motion that is looked for, as a share of the rows."""
_FOUND = 0.85
"""Correlation from which a block counts as found."""
_LEAST_BLOCKS, _LEAST_TURNS = 60, 0.2
"""Blocks that must be found, and how far their motions must differ, in turns of the phase, to tell anything."""
_AGREE = 0.85
"""How well the phases must agree with their motions, 0 to 1, at the best frequency: public pairs have .86 and more."""
_APART, _ALONE = 0.5, 0.9
"""How much less well they must agree at all frequencies that are so far from the best."""
_WORSE = 0.9
"""How much less well at that which was told, to call it wrong."""
_OFF = 0.2
"""Share of the demodulation frequency by which the best one may differ; public pairs differ by .09."""
_FREQUENCIES = np.arange(-2, 2.501, 0.01)
"""Tried, over that which was told."""
_REVERSED, _NOT_RIGHT = 0.95, 0.8
"""Agreement at the frequency of the other sign, and how much less at that which was told, that show Q reversed even
where motions differ too little to tell a frequency."""
_PAIRS = 8


def check_motion(frames: Iterable[NDArray[Any]], scan: Scan) -> str:
    """What the motion from the first of some frames of IQ (N, M, 2) to the next ones shows: a line with the remedy.

    Empty where there is nothing to remark, or where nothing can be told: in RF, in frames that hardly move, and where
    the demodulation frequency changes with depth. Up to 8 frames after the first are looked at, half a second at most.
    """
    told = scan.demodulation_hz
    if told is None or isinstance(told, tuple):
        return ""
    few = itertools.islice(frames, _PAIRS + 1)
    first = next(few, None)
    for second in few:
        if (
            first is not None
            and (share := _frequency(as_complex(first), as_complex(second), scan)) is not None
        ):
            if share < 0:
                return "the echoes move as if Q had the other sign: conjugate the samples"
            if abs(share - 1) > _OFF:
                return (
                    f"the echoes move as if they were demodulated at {share * told / 1e6:.2g} MHz, but "
                    f"{told / 1e6:.4g} was given: --demodulation-mhz, or --fs-mhz?"
                )
            return ""
    return ""


def _frequency(first: NDArray[Any], second: NDArray[Any], scan: Scan) -> float | None:
    """The frequency by which the echoes were turned down, over that which was told; None where it cannot be told."""
    moved, phase = _motions(first, second, scan)
    told = float(np.asarray(scan.demodulation_hz)) / scan.fs_hz
    if len(moved) < _LEAST_BLOCKS:
        return None
    residual = phase + 2 * np.pi * told * _FREQUENCIES[:, None] * moved
    agreement = np.abs(np.exp(1j * residual).mean(axis=1))
    right, reversed_ = (float(agreement[np.abs(_FREQUENCIES - share).argmin()]) for share in (1, -1))
    if reversed_ >= _REVERSED and right <= _NOT_RIGHT * reversed_:
        return -1.0
    if moved.std() * told < _LEAST_TURNS:
        return None
    best = int(agreement.argmax())
    off = np.abs(_FREQUENCIES - _FREQUENCIES[best])
    if agreement[best] < _AGREE or agreement[off > _APART].max() > _ALONE * agreement[best]:
        return None
    sure = right < _WORSE * agreement[best]
    return float(_FREQUENCIES[best]) if sure else 1.0


def _motions(
    first: NDArray[Any], second: NDArray[Any], scan: Scan
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the blocks that are found again: motion in rows, by the magnitude of the correlation, and its phase there."""
    rows, lines = first.shape
    size = max(_BLOCK_LEAST, round(_BLOCK_WAVELENGTHS / scan.cycles_per_sample))
    reach = max(6, round(_REACH * rows)) + 2
    across = lines // _BLOCK_LINES
    if rows < size + 2 * reach or across == 0 or first.shape != second.shape:
        return np.empty(0), np.empty(0)
    columns = np.unique(np.linspace(0, across - 1, min(_MOST[1], across)).astype(int))
    pick = (columns[:, None] * _BLOCK_LINES + np.arange(_BLOCK_LINES)).ravel()
    before, after = (frame[:, pick].astype(np.complex128) for frame in (first, second))
    starts = np.unique(np.linspace(reach, rows - size - reach, _MOST[0]).astype(int))

    def sums(values: NDArray[Any]) -> NDArray[Any]:
        """(blocks along depth, across) of values (N - 2 reach, lines)."""
        whole = values.reshape(len(values), len(columns), _BLOCK_LINES).sum(axis=2)
        running = np.concatenate((np.zeros((1, len(columns)), whole.dtype), np.cumsum(whole, axis=0)))
        at = starts - reach
        return np.asarray(running[at + size] - running[at])

    inside = before[reach : rows - reach]
    energy = sums(np.abs(inside) ** 2)
    energies = np.abs(after) ** 2
    lags = np.arange(-reach, reach + 1)
    products = np.stack(
        [sums(after[reach + lag : rows - reach + lag] * inside.conj()) for lag in lags.tolist()]
    )
    there = np.stack([sums(energies[reach + lag : rows - reach + lag]) for lag in lags.tolist()])
    with np.errstate(divide="ignore", invalid="ignore"):
        alike = np.nan_to_num(np.abs(products) / np.sqrt(energy * there))
    best = alike.argmax(axis=0)
    found = (alike.max(axis=0) >= _FOUND) & (best > 0) & (best < len(lags) - 1)
    along, side = np.nonzero(found)
    at = best[found]
    below, peak, above = (np.log(np.maximum(alike[at + k, along, side], 1e-9)) for k in (-1, 0, 1))
    curve = below - 2 * peak + above
    rest = np.where(curve < 0, 0.5 * (below - above) / np.where(curve < 0, curve, -1), 0.0)
    beside = float(np.angle((before[1:] * before[:-1].conj()).sum()))  # a row of the echo beside its carrier
    return lags[at] + rest, np.angle(products[at, along, side]) + beside * rest
