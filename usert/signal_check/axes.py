"""A look at two frames of IQ: along which of their axes does the phase of the echo turn with its motion?

An echo that lies d rows deeper in the second frame turns by -2π d f / fs, where f is the frequency by which it was
turned down; motion across the lines turns nothing. Where lines come first, depth is the second axis, and the phase
turns with motion along it instead. Motion along both axes is seen in the magnitude of the correlation of small blocks,
whatever the phase does there, so a probe that tilts or slides looks like nothing but itself. A single frame does not
show its axes: speckle has about the same size along both.

Both axes are treated alike. The bounds were tried on public pairs and on the whole range of the simulator, good and
transposed (`tests/core/test_signal_check_axes.py`), with clutter, noise, shadows and masks: in good pairs the phases
were .5 times and more as scattered about motion across as about the better of the two other explanations.
Knows samples and a `Scan`. Invariant: exchanging the axes of both frames exchanges the answers True and False.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..frame import Scan, as_complex

_LONGEST = 1024
"""Samples along an axis, in the middle of it, that are looked at."""
_SPECKLE = 1.2
"""Standard deviation of the correlation along an axis, in samples, to which frames are averaged down."""
_BLOCK, _LEAST, _SHARE = 24, 8, 4
"""Samples of a block along an axis: at most, at least, and the part of the frame that it is where it is neither."""
_MOST = 16
"""Blocks along an axis."""
_REACH, _FINE = 6, 2
"""Motion that is looked for, in samples of the averaged frames, and steps in each: a third of a block at most."""
_FAINT = 1e-5
"""Energy of a block over that of the strongest, up to which it is blank: a mask beside an offset is not quite zero."""
_FOUND = 0.7
"""Correlation from which a block counts as found."""
_LEAST_FOUND = 32
"""Blocks that must be found to tell anything."""
_TURNED = 0.05
"""Scatter of the phases, as a variance in rad², from which they turned at all."""
_FOR, _AGAINST = 0.9, 0.85
"""Shares of the blocks, those that agree best, whose scatter counts for an axis of depth, and against it: a few blocks,
such as of a reverberation that stands still, must not decide."""
_SMALL = 0.7
"""Scatter of the phases about the motion, as a variance in rad², up to which they agree."""
_BETTER, _NO_BETTER = 0.4, 0.8
"""Scatter of the phases about the motion over that about none: up to which an axis may be that of depth, and from which
the other one explains nothing. A press and a tilt can move the echo along both alike."""
_FAR_BETTER, _LEFT = 0.2, 0.25
"""Scatter about the one axis over that about the other from which `_LEFT` of the other one is enough."""
_LOST = 2.0
"""Scatter from which the phases are as good as random."""


def lines_first(first: NDArray[Any], second: NDArray[Any], scan: Scan) -> bool | None:
    """Whether two frames of IQ (N, M, 2) show by their motion that depth is their second axis.

    False where they show that it is the first; None where they do not show it: in RF, in frames that hardly moved or
    that have little in common, and where the demodulation frequency changes with depth. Some 10 ms, of large frames 40.
    """
    told = scan.demodulation_hz
    if told is None or isinstance(told, tuple) or first.shape != second.shape:
        return None
    middle = tuple(slice(max(0, n - _LONGEST) // 2, (n + _LONGEST) // 2) for n in first.shape[:2])
    found = _motions(as_complex(first[middle]), as_complex(second[middle]))
    if found is None or len(found.phase) < _LEAST_FOUND:
        return None
    turn = 2 * np.pi * told / scan.fs_hz
    still = found.phase + found.beside[0] * found.along + found.beside[1] * found.across
    along, across = (still + turn * moved for moved in (found.along, found.across))
    if (turned := _scatter(still, _AGAINST)) < _TURNED:
        return None
    for answer, this, other in ((True, across, along), (False, along, across)):
        left, others = _scatter(this, _FOR), _scatter(other, _AGAINST)
        alone = _LEFT if left < _FAR_BETTER * others else _NO_BETTER
        if left < min(_SMALL, _BETTER * turned) and others > alone * min(turned, _LOST):
            return answer
    return None


class _Motions(NamedTuple):
    """Of the K blocks that are found again in the second frame."""

    along: NDArray[np.float64]
    """(K,): motion along the first axis, in samples."""
    across: NDArray[np.float64]
    """(K,): motion along the second one."""
    phase: NDArray[np.float64]
    """(K,): by which the echo turned, beyond what the frequencies `beside` did."""
    beside: tuple[float, float]
    """Mean frequency of the frames along both axes, in rad per sample."""


def _scatter(phase: NDArray[np.float64], share: float) -> float:
    """Variance of a normal distribution of phases that are as concentrated as that share of these."""
    turns = np.exp(1j * phase)
    nearest = np.argsort(np.abs(turns - np.exp(1j * np.angle(turns.mean()))))
    turns = turns[nearest[: round(share * len(turns))]]
    return float(-2 * np.log(max(np.abs(turns.mean()), 1e-9)))


def _motions(before: NDArray[Any], after: NDArray[Any]) -> _Motions | None:
    """None where there is no energy, or no number, or few samples along an axis."""
    peak = max(float(np.abs(before).max(initial=0)), float(np.abs(after).max(initial=0)))
    if not (np.isfinite(peak) and peak > 0):
        return None
    frames = [(frame - frame.mean()) / np.float32(peak) for frame in (before, after)]
    beside, steps = zip(*(_speckle(frames[0], axis) for axis in (0, 1)), strict=True)
    for axis in (0, 1):
        frames = [_averaged(frame, axis, beside[axis], steps[axis]) for frame in frames]
    shape = frames[0].shape
    size = [min(n, max(_LEAST, min(_BLOCK, n // _SHARE))) for n in shape]
    if min(size) < _LEAST:
        return None
    at = [
        np.unique(np.linspace(0, n - part, min(_MOST, 1 + 2 * (n - part) // part)).astype(int))[:, None]
        + np.arange(part)
        for n, part in zip(shape, size, strict=True)
    ]
    windows = [np.hanning(part + 2)[1:-1].astype(np.float32) for part in size]
    window = windows[0][:, None] * windows[1]
    blocks = [frame[at[0][:, None, :, None], at[1][None, :, None, :]].reshape(-1, *size) for frame in frames]
    blocks = [(part - part.mean(axis=(1, 2), keepdims=True)) * window for part in blocks]
    energies = np.stack([(np.abs(part) ** 2).sum(axis=(1, 2)) for part in blocks])
    there = (energies > _FAINT * energies.max()).all(axis=0)
    if not there.any():
        return None
    energy = np.sqrt(energies.prod(axis=0))
    one, other = (part[there] for part in blocks)
    reach = [_FINE * min(_REACH, part // 3) + 1 for part in size]
    products = _correlations(one, other, reach)
    lags = [np.arange(-far, far + 1) / _FINE for far in reach]
    overlap = [
        np.interp(lag, np.arange(1 - len(w), len(w)), np.correlate(w, w, "full")) / (w @ w)
        for lag, w in zip(lags, windows, strict=True)
    ]
    alike = np.abs(products) / (overlap[0][:, None] * overlap[1] * energy[there][:, None, None])
    return _peaks(products, alike, lags, beside, steps)


def _speckle(frame: NDArray[Any], axis: int) -> tuple[float, int]:
    """Mean frequency along an axis, in rad per sample, and how many samples there are to be averaged."""
    lines = np.moveaxis(frame, axis, 0)
    near, far = (complex(np.vdot(lines[:-k], lines[k:])) for k in (1, 2))
    ratio = min(max(abs(far) / max(abs(near), 1e-12), 1e-3), 0.9999)
    width = np.sqrt(1.5 / -np.log(ratio))  # of a Gaussian, whatever white noise there is
    return float(np.angle(near)), min(max(1, int(width / _SPECKLE)), max(1, len(lines) // _LEAST))


def _averaged(frame: NDArray[Any], axis: int, beside: float, step: int) -> NDArray[Any]:
    """Means of `step` neighbours along an axis, about the frequency `beside`."""
    lines = np.moveaxis(frame, axis, 0)
    lines = lines * np.exp(-1j * beside * np.arange(len(lines)))[:, None].astype(np.complex64)
    whole = len(lines) // step * step
    return np.moveaxis(lines[:whole].reshape(-1, step, lines.shape[1]).mean(axis=1), 0, axis)


def _correlations(one: NDArray[Any], other: NDArray[Any], reach: list[int]) -> NDArray[Any]:
    """(B, 2 R + 1, 2 R' + 1) of blocks (B, n, m) at lags up to `reach`, in steps of 1 / `_FINE`."""
    padded = [2 * n for n in one.shape[1:]]
    spectrum = np.fft.fft2(one, s=padded).conj() * np.fft.fft2(other, s=padded)
    for axis, (n, far) in enumerate(zip(padded, reach, strict=True), start=1):
        turn = np.exp(2j * np.pi * np.outer(np.fft.fftfreq(n), np.arange(-far, far + 1)) / _FINE) / n
        spectrum = np.moveaxis(np.moveaxis(spectrum, axis, -1) @ turn.astype(np.complex64), -1, axis)
    return spectrum


def _peaks(
    products: NDArray[Any],
    alike: NDArray[Any],
    lags: list[NDArray[np.float64]],
    beside: tuple[float, float],
    steps: tuple[int, int],
) -> _Motions:
    """Of the blocks whose best correlation is high and inside, by parabolas through its logarithm."""
    inner = alike[:, 1:-1, 1:-1]
    best = inner.reshape(len(alike), -1).argmax(axis=1)
    p, q = (at + 1 for at in np.unravel_index(best, inner.shape[1:]))
    which = np.arange(len(alike))
    found = alike[which, p, q] >= _FOUND
    found &= (p > 1) & (p < alike.shape[1] - 2) & (q > 1) & (q < alike.shape[2] - 2)
    which, p, q = which[found], p[found], q[found]
    phase = np.angle(products[which, p, q])
    moved = []
    for lag, at, step, (i, j) in zip(lags, (p, q), steps, ((1, 0), (0, 1)), strict=True):
        below, peak, above = (
            np.log(np.maximum(alike[which, p + k * i, q + k * j], 1e-6)) for k in (-1, 0, 1)
        )
        curve = below - 2 * peak + above
        rest = np.where(curve < 0, 0.5 * (below - above) / np.where(curve < 0, curve, -1), 0.0).clip(
            -0.75, 0.75
        )
        slope = np.angle(products[which, p + i, q + j] * products[which, p - i, q - j].conj()) / 2
        phase = phase + rest * slope
        moved.append((lag[at] + rest / _FINE) * step)
    return _Motions(moved[0], moved[1], phase, beside)
