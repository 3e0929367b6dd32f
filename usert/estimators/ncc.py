"""Block matching by zero-mean normalised cross-correlation (NCC), the textbook method of strain imaging.

Three steps. A coarse pass correlates windows at whole-sample shifts over the full range and draws through
each line the path of greatest total correlation (the Viterbi algorithm along depth), so that a window with a
false peak follows its neighbours. A fine pass looks one sample and a few lines round that path. The position
of the peak between samples comes from a cosine through three correlations along depth (the correlation of
narrow-band echoes is a cosine near its peak; Céspedes, Huang, Ophir and Spratt, Ultrasonic Imaging 17 (1995)
142-171), across lines from a parabola.

Knows arrays only. Invariant: a displacement lies within the search range, is finite, and where nothing can be
correlated follows its neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FrameError, OptionError

COARSE_STEP, FINE_STEP = 16, 4
"""Samples between window centres of the two passes. The path of the coarse one may bend by one sample a step:
strain to 6 %."""
BEND = 0.02
"""Correlation that a path gives up for each bend of one sample."""

_Array = NDArray[np.float64]


def block_matching(
    pre: NDArray[Any],
    post: NDArray[Any],
    *,
    window: tuple[int, int] = (97, 5),
    max_axial: int = 64,
    max_lateral: int = 3,
) -> NDArray[np.float32]:
    """Displacement (2, N, M) from `pre` to `post` (N, M) by NCC: samples and lines, post(r + d(r)) ≈ pre(r).

    `window` is (samples, lines), 8 k + 1 by an odd number, cut at the borders; the search covers ± `max_axial` samples
    and ± `max_lateral` lines (0: no lateral displacement). A window is matched every 4 samples on every line; between
    them the displacement is linear. A window cut at the top or bottom finds the displacement of its own centre, up to a
    quarter of its length away.

    Errors: `FrameError` for frames that are not a pair, `OptionError` for an impossible window or range.
    """
    if window[0] < 9 or window[0] % 8 != 1 or window[1] < 1 or window[1] % 2 == 0:
        raise OptionError(f"window: got {window[0]} x {window[1]}, expected 8 k + 1 samples, 2 k + 1 lines")
    if max_axial < 1 or max_lateral < 0:
        raise OptionError(f"search range: got {max_axial} samples, {max_lateral} lines, expected >= 1, >= 0")
    first, second = (_unit_power(frame) for frame in check_pair(pre, post))
    rows, lines = first.shape
    max_axial, max_lateral = min(max_axial, rows - 1), min(max_lateral, lines - 1)

    half = COARSE_STEP * max(round(window[0] / 2 / COARSE_STEP), 1)
    coarse = _Correlator(first, second, (2 * half + 1, window[1]), COARSE_STEP, (max_axial, max_lateral))
    shifts = np.arange(-max_axial, max_axial + 1)
    aside = range(-max_lateral + max_lateral % 2, max_lateral + 1, 2)  # correlation is wide across lines
    score = np.empty((len(coarse.centres), lines, len(shifts)), np.float32)
    for k, axial in enumerate(shifts):
        score[:, :, k] = np.max([coarse.at(int(axial), lateral) for lateral in aside], axis=0)
    path = shifts[_best_path(score)]

    fine = _Correlator(first, second, window, FINE_STEP, (max_axial + 2, max_lateral))
    guide = np.rint(_along_depth(path, coarse.centres, fine.centres)).astype(np.intp)
    matched = _refined(fine, np.clip(guide, -max_axial, max_axial), max_lateral)
    dense = np.stack([_along_depth(component, fine.centres, np.arange(rows)) for component in matched])
    limits = np.array([max_axial, max_lateral])[:, np.newaxis, np.newaxis]
    return np.clip(dense, -limits, limits).astype(np.float32)


def check_pair(pre: NDArray[Any], post: NDArray[Any]) -> tuple[_Array, _Array]:
    """Both frames (N, M) as float64.

    Errors: `FrameError` where they cannot be a pair: other shapes, fewer than 16 samples, NaN, a constant frame.
    """
    if pre.shape != post.shape or pre.ndim != 2 or pre.shape[0] < 16 or pre.shape[1] < 1:
        raise FrameError(
            f"pair: got shapes {pre.shape} and {post.shape}, expected one shape (N, M) of 16 samples or more"
        )
    checked = []
    for name, frame in (("first", pre), ("second", post)):
        values = frame.astype(np.float64)
        if not np.isfinite(values).all():
            raise FrameError(f"pair: the {name} frame has samples that are NaN or infinite")
        if np.ptp(values) == 0:
            raise FrameError(f"pair: the {name} frame is constant ({values.flat[0]:g}), nothing to match")
        checked.append(values)
    return checked[0], checked[1]


class _Correlator:
    """Correlations of one pair at a shift of whole samples, in windows `step` samples apart on every line.

    Products are summed in blocks of `step` samples; a window is a run of blocks and one sample more, centred
    on the block's first sample.
    """

    def __init__(
        self, first: _Array, second: _Array, window: tuple[int, int], step: int, reach: tuple[int, int]
    ) -> None:
        """`reach`: the largest shifts that will be asked for, in samples and lines."""
        rows = len(first)
        self._step, self._reach = step, reach
        self._half, self._aside = window[0] // 2, window[1] // 2
        self.centres = np.arange(0, rows, step)
        padded = len(self.centres) * step + self._half
        self._first = np.pad(first, ((0, padded - rows), (0, 0)))
        self._second = np.pad(second, ((reach[0], reach[0] + padded - rows), (reach[1], reach[1])))
        self._above = np.maximum(self.centres - self._half, 0)
        self._below = np.minimum(self.centres + self._half + 1, rows)
        self._count = self._in_windows(np.ones(first.shape))
        self._mean = self._in_windows(first) / self._count
        self._power = self._in_windows(first**2) - self._count * self._mean**2
        self._sums, self._squares = _running(self._second), _running(self._second**2)
        self._tiny = 1e-9 * float(np.mean(self._power))

    def at(self, axial: int, lateral: int) -> NDArray[np.float32]:
        """(centres, M): NCC of each window of the first frame with the second's at that shift, -1 to 1.

        Beyond its border the second frame is 0. Where either window is constant the result is 0.
        """
        lines = self._first.shape[1]
        across = slice(self._reach[1] + lateral, self._reach[1] + lateral + lines)
        top = self._reach[0] + axial
        total, squares = (
            self._across(running[self._below + top, across] - running[self._above + top, across])
            for running in (self._sums, self._squares)
        )
        product = self._across(self._products(self._second[top : top + len(self._first), across]))
        power = squares - total**2 / self._count
        fair = (power > self._tiny) & (self._power > self._tiny)
        scale = np.sqrt(np.where(fair, power * self._power, 1))
        return np.where(fair, (product - self._mean * total) / scale, 0).astype(np.float32)

    def _products(self, second: _Array) -> _Array:
        """(centres, M) sums of first × second along the windows' samples, second already shifted."""
        count, step, half = len(self.centres), self._step, self._half
        first = self._first[: count * step]
        blocks = np.einsum(
            "ksm,ksm->km",
            first.reshape(count, step, -1),
            second[: count * step].reshape(count, step, -1),
        )
        running, k = _running(blocks), np.arange(count)
        whole = running[np.minimum(k + half // step, count)] - running[np.maximum(k - half // step, 0)]
        last = slice(half, half + count * step, step)
        return whole + self._first[last] * second[last]

    def _in_windows(self, values: _Array) -> _Array:
        running = _running(values)
        return self._across(running[self._below] - running[self._above])

    def _across(self, values: _Array) -> _Array:
        """Sums over the window's lines, cut at the borders."""
        sums = values.copy()
        for k in range(1, min(self._aside, values.shape[1] - 1) + 1):
            sums[:, k:] += values[:, :-k]
            sums[:, :-k] += values[:, k:]
        return sums


def _refined(
    correlator: _Correlator, guide: NDArray[np.intp], max_lateral: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Axial and lateral displacement (centres, M) of the peak within a sample of `guide`."""
    reach = range(-2, 3)
    aside = range(-max_lateral, max_lateral + 1)
    near = np.zeros((len(aside), len(reach), *guide.shape), np.float32)
    for axial in range(int(guide.min()) - 2, int(guide.max()) + 3):
        wanted = [guide == axial - offset for offset in reach]
        if any(mask.any() for mask in wanted):
            for j, lateral in enumerate(aside):
                ncc = correlator.at(axial, lateral)
                for k, mask in enumerate(wanted):
                    near[j, k][mask] = ncc[mask]

    inner = near[:, 1:4].reshape(-1, *guide.shape)
    best_line, best_shift = np.divmod(inner.argmax(axis=0), 3)
    found = inner.max(axis=0) > 0
    centre, line = np.indices(guide.shape)

    def value(side: Any, shift: Any) -> NDArray[np.float32]:
        picked: NDArray[np.float32] = near[side, shift + 1, centre, line]
        return picked

    peak = value(best_line, best_shift)
    axial_part = _cosine_peak(value(best_line, best_shift - 1), peak, value(best_line, best_shift + 1))
    left, right = np.maximum(best_line - 1, 0), np.minimum(best_line + 1, len(aside) - 1)
    lateral_part = _parabola_peak(value(left, best_shift), peak, value(right, best_shift))
    lateral_part[(best_line == 0) | (best_line == len(aside) - 1)] = 0
    axial_found = np.where(found, guide + best_shift - 1 + axial_part, guide)
    return axial_found, np.where(found, best_line - max_lateral + lateral_part, 0)


def _best_path(score: NDArray[np.float32]) -> NDArray[np.intp]:
    """(depths, lines, shifts) → (depths, lines): shifts of greatest total score, bending by one at most."""
    depths, lines, shifts = score.shape
    came_from = np.zeros(score.shape, np.int8)
    total = score[0].copy()
    for depth in range(1, depths):
        best = total.copy()
        for bend in (-1, 1):
            other = np.full_like(total, -np.inf)
            to, start = _overlap(shifts, bend)
            other[:, to] = total[:, start] - BEND
            better = other > best
            best[better] = other[better]
            came_from[depth][better] = bend
        total = best + score[depth]
    path = np.empty((depths, lines), np.intp)
    path[-1] = total.argmax(axis=1)
    for depth in range(depths - 1, 0, -1):
        path[depth - 1] = path[depth] + came_from[depth, np.arange(lines), path[depth]]
    return path


def _cosine_peak(
    before: NDArray[np.float32], peak: NDArray[np.float32], after: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Peak of a cosine through three equidistant values, -1 to 1 about the middle one.

    The values are A cos ω(k - δ), k = -1, 0, 1; the half sum of the outer ones over the middle is cos ω.
    """
    safe = np.where(peak > 1e-6, peak, 1)
    omega = np.arccos(np.clip((before + after) / (2 * safe), -0.9, 0.9999))
    delta = np.arctan((after - before) / (2 * safe * np.sin(omega))) / omega
    return np.where(peak > 1e-6, np.clip(delta, -1, 1), 0).astype(np.float32)


def _parabola_peak(
    before: NDArray[np.float32], peak: NDArray[np.float32], after: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Top of the parabola through three equidistant values, -0.5 to 0.5 about the middle, largest, one."""
    bend = 2 * peak - before - after
    safe = np.where(bend > 1e-6, bend, 1)
    return np.where(bend > 1e-6, np.clip((after - before) / (2 * safe), -0.5, 0.5), 0).astype(np.float32)


def _unit_power(frame: _Array) -> _Array:
    """Each line without its mean, all of unit rms: keeps the running sums accurate."""
    centred = frame - frame.mean(axis=0)
    rms = float(np.sqrt(np.mean(centred**2)))
    unit: _Array = centred / (rms or 1)
    return unit


def _running(values: _Array) -> _Array:
    """(N, M) → (N + 1, M): sums of the samples above each."""
    running = np.zeros((values.shape[0] + 1, values.shape[1]))
    np.cumsum(values, axis=0, out=running[1:])
    return running


def _overlap(length: int, shift: int) -> tuple[slice, slice]:
    """Where index k and index k + shift both exist: slices of k, and of k + shift."""
    return slice(max(-shift, 0), length - max(shift, 0)), slice(max(shift, 0), length + min(shift, 0))


def _along_depth(values: NDArray[Any], at: NDArray[np.intp], wanted: NDArray[np.intp]) -> NDArray[np.float64]:
    """(len(at), M) values at rows `at` → (len(wanted), M), linear between them."""
    upper = np.clip(np.searchsorted(at, wanted, side="right"), 1, len(at) - 1)
    share = ((wanted - at[upper - 1]) / (at[upper] - at[upper - 1]))[:, np.newaxis]
    result: NDArray[np.float64] = values[upper - 1] * (1 - share) + values[upper] * share
    return result
