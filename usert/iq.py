"""From IQ to RF: the complex baseband turned up again by its demodulation frequency.

    x(t) = Re{ z(t) exp(j φ(t)) },   φ(t) = 2π ∫₀ᵗ f_demodulation

What works on RF (the exported graphs, the classical estimators, the paper's loss) takes IQ through here: `as_rf` for a
frame, `turned_up` for samples on as many rows as are wanted, `at_rows` and `motion_at_rows` for what was computed on
them. `turned_down` is the other way, as scanners do it.

The first and the last row of the RF lie where those of the IQ do: t(n) = n (N - 1) / (N' - 1) in rows of the IQ.
Knows no files, sockets or networks. Invariant: a tone within half of the
pulse's octave comes out as itself to a thousandth, away from both ends of the frame.
"""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import FrameError
from .frame import Demodulation, RFFrame, Scan, check_shape
from .front_end import TYPICAL

IQLayout: TypeAlias = Literal["iq-pairs", "iq-lines"]
"""How I and Q stand in an array of real numbers: in turns along depth, or a line of I before each line of Q."""
ROWS_PER_CYCLE = 4.0
"""Rows of RF in a cycle of the echo: enough for echoes up to twice the centre frequency."""
_REACH = 12
"""Zero crossings of the interpolating kernel either side."""
_BETA = 8.0
"""Of its Kaiser window."""
_TILE = 16
"""Rows of RF made by one matrix product."""
_PRODUCT = 1 << 18
"""Multiplications of one matrix product: up to so many OpenBLAS stays on one thread. On more its threads wait for one
another, on a busy machine a hundred times as long as the product takes."""


def as_rf(frame: RFFrame, rows: int | None = None) -> RFFrame:
    """`frame` itself if it is RF; IQ turned up to float32 RF of `rows` (`rf_rows`) samples a line."""
    if frame.scan.kind == "rf":
        return frame
    rows = rf_rows(frame.shape[0], frame.scan) if rows is None else rows
    return dataclasses.replace(
        frame,
        samples=turned_up(frame.samples, frame.scan, rows),
        scan=rf_scan(frame.scan, frame.shape[0], rows),
    )


def split_iq(samples: NDArray[Any], layout: IQLayout) -> NDArray[Any]:
    """Real samples (…, 2 N, M) in pairs, or (…, N, 2 M) in lines, as IQ (…, N, M, 2).

    Errors: `FrameError` for an odd number of them.
    """
    *lead, rows, lines = samples.shape
    if layout == "iq-pairs" and rows % 2 == 0:
        return samples.reshape(*lead, rows // 2, 2, lines).swapaxes(-1, -2)
    if layout == "iq-lines" and lines % 2 == 0:
        return samples.reshape(*lead, rows, lines // 2, 2)
    what = "samples along depth" if layout == "iq-pairs" else "lines"
    raise FrameError(f"{layout}: got shape {samples.shape}, expected an even number of {what}")


def rf_rows(rows: int, scan: Scan, *, rows_per_cycle: float = ROWS_PER_CYCLE) -> int:
    """Rows of RF, so many or more a cycle of the echo, for `rows` of IQ."""
    return math.ceil(rows_per_cycle * rows * max(scan.f0_hz, *_frequencies(scan)) / scan.fs_hz)


def common_sample(scan: Scan) -> float:
    """Rows of a frame that a sample of RF takes where it is sampled as is common; 1 for frames of RF."""
    return 1.0 if scan.kind == "rf" else TYPICAL / scan.cycles_per_sample


def rf_scan(scan: Scan, rows: int, new_rows: int) -> Scan:
    """The scan of `new_rows` of RF that were `rows` of IQ."""
    return dataclasses.replace(scan, fs_hz=scan.fs_hz / _step(rows, new_rows), demodulation_hz=None)


def turned_up(samples: NDArray[Any], scan: Scan, rows: int) -> NDArray[np.float32]:
    """IQ samples (N, M, 2) of any real type → RF (`rows`, M).

    Errors: `FrameError` for another shape, samples that are not finite or all equal, or a scan of RF.
    """
    if scan.demodulation_hz is None:
        raise FrameError("scan: got one without demodulation_hz, expected that of IQ")
    check_shape("IQ frame", samples, "iq")
    if samples.dtype.kind not in "iuf":
        raise FrameError(f"IQ frame: got dtype {samples.dtype}, expected integers or floats")
    if samples.dtype.kind == "f" and not (finite := np.isfinite(samples)).all():
        bad = finite.size - int(np.count_nonzero(finite))
        raise FrameError(f"IQ frame: {bad} of {samples.size} samples are NaN or infinite")
    if samples.min() == samples.max():
        raise FrameError("IQ frame: all samples are the same, expected echoes")
    bands = _up(samples.shape[0], rows, scan.fs_hz, scan.f0_hz, scan.demodulation_hz)
    planes = np.moveaxis(samples, -1, 0)
    return _blank_as(planes, _product(bands, planes, rows), _step(samples.shape[0], rows))


def turned_down(samples: NDArray[Any], scan: Scan, decimation: int) -> NDArray[np.float32]:
    """IQ (ceil(N / decimation), M, 2) of RF (N, M), as a scanner makes it, whose row k lies at sample k · decimation.

    `scan` is that of the IQ: its sampling frequency is that of the RF over `decimation`. Beyond half of it, and beyond
    the centre frequency, nothing is let through. Errors: `FrameError`.
    """
    if scan.demodulation_hz is None or decimation < 1:
        raise FrameError(
            f"demodulation_hz, decimation: got {scan.demodulation_hz}, {decimation}, expected a frequency and 1 or more"
        )
    check_shape("RF frame", samples, "rf")
    rows = -(-samples.shape[0] // decimation)
    bands = _down(samples.shape[0], decimation, scan.fs_hz * decimation, scan.f0_hz, scan.demodulation_hz)
    parts = [_blank_as(samples[None], _product(part, samples[None], rows), decimation) for part in bands]
    return np.stack(parts, axis=-1)


def as_iq(frame: RFFrame, demodulation_hz: Demodulation, decimation: int) -> RFFrame:
    """An RF frame as a scanner that sends IQ sends it, in the type of its samples. Errors: as `turned_down`, `Scan`."""
    scan = iq_scan(frame.scan, demodulation_hz, decimation)
    samples = turned_down(frame.samples, scan, decimation)
    if frame.samples.dtype.kind == "i":
        limits = np.iinfo(frame.samples.dtype)
        samples = np.rint(samples).clip(limits.min, limits.max)
    return dataclasses.replace(frame, samples=samples.astype(frame.samples.dtype, copy=False), scan=scan)


def iq_scan(scan: Scan, demodulation_hz: Demodulation, decimation: int) -> Scan:
    """The scan of the IQ that `turned_down` makes of RF. Errors: `FrameError`."""
    if decimation < 1:
        raise FrameError(f"decimation: got {decimation}, expected 1 or more")
    return dataclasses.replace(scan, fs_hz=scan.fs_hz / decimation, demodulation_hz=demodulation_hz)


def decimated_motion(displacement: NDArray[np.float32], decimation: int) -> NDArray[np.float32]:
    """Displacement (2, N, M) of RF on the rows of the IQ that `turned_down` makes of it, its axial part in those."""
    motion = displacement[:, ::decimation].copy()
    motion[0] /= decimation
    return motion


def at_rows(field: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """(…, N', M) on other rows from the first to the last, (…, `rows`, M), linear between them."""
    count = field.shape[-2]
    at = np.arange(rows) * _step(count, rows)
    above = np.minimum(at.astype(np.intp), max(count - 2, 0))
    share = (at - above).astype(np.float32)[:, None]
    upper, values = (field.take(which, axis=-2) for which in (above, np.minimum(above + 1, count - 1)))
    values -= upper
    values *= share
    values += upper
    return values


def motion_at_rows(displacement: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """`at_rows` of a displacement (2, N', M), whose axial part counts rows."""
    moved = at_rows(displacement, rows)
    moved[0] /= np.float32(_step(displacement.shape[-2], rows))
    return moved


def _step(rows: int, new_rows: int) -> float:
    """Distance of `new_rows` in `rows`, with the first and the last at the same place."""
    return max(1, rows - 1) / max(1, new_rows - 1)


def _frequencies(scan: Scan) -> list[float]:
    told = scan.demodulation_hz
    return [] if told is None else [hz for _, hz in told] if isinstance(told, tuple) else [told]


class _Bands(NamedTuple):
    """A linear map along depth whose rows reach over a few rows of the input only, in tiles of 16 rows."""

    first: NDArray[np.intp]
    """(T,): first row of the input that a tile sees; it may lie outside."""
    matrices: NDArray[np.float32]
    """(T, 16, P · L): from L rows of each of P planes."""


def _product(bands: _Bands, planes: NDArray[Any], rows: int) -> NDArray[np.float32]:
    """(P, N, M) → (`rows`, M)."""
    count, lines = planes.shape[1:]
    length = bands.matrices.shape[-1] // len(planes)
    padded = np.zeros(
        (len(planes), count + 2 * length, lines), np.float32
    )  # beyond the frame there is nothing
    padded[:, length : length + count] = planes
    result = np.empty((len(bands.first), _TILE, lines), np.float32)
    across = max(1, _PRODUCT // bands.matrices[0].size)
    for tile, (start, matrix) in enumerate(zip(bands.first + length, bands.matrices, strict=True)):
        near = padded[:, start : start + length].reshape(-1, lines)
        for line in range(0, lines, across):
            result[tile, :, line : line + across] = matrix @ near[:, line : line + across]
    return result.reshape(-1, lines)[:rows]


def _blank_as(planes: NDArray[Any], made: NDArray[np.float32], step: float) -> NDArray[np.float32]:
    """`made` (N', M) of (P, N, M), one row of `step`, with zeros where a line has nothing but zeros up to its end.

    Without it a filter's ringing fills a masked corner, and is an echo to those who look at phases.
    """
    if not planes[:, (0, -1)].any(axis=0).all():
        signal: NDArray[np.bool_] = np.asarray(planes.any(axis=0))
        first, last = signal.argmax(axis=0), len(signal) - 1 - signal[::-1].argmax(axis=0)
        at = np.rint(np.arange(len(made)) * step)[:, None]
        made[(at < first) | (at > last)] = 0
    return made


@lru_cache(maxsize=8)
def _up(count: int, rows: int, fs_hz: float, f0_hz: float, demodulation: Demodulation) -> _Bands:
    """From I and Q to RF. What lies beyond the centre frequency on either side of the carrier would fold: it is left
    out."""
    first, at, _, kernel = _kernel(count, rows, step=_step(count, rows), cutoff=min(0.5, f0_hz / fs_hz))
    turn = np.exp(2j * np.pi * carrier_cycles(at, fs_hz, demodulation))[:, :, None] * kernel
    return _Bands(first, np.concatenate((turn.real, -turn.imag), axis=-1).astype(np.float32))


@lru_cache(maxsize=8)
def _down(
    count: int, decimation: int, fs_hz: float, f0_hz: float, demodulation: Demodulation
) -> tuple[_Bands, _Bands]:
    """From RF to I, and to Q. Rows of a demodulation that changes with depth are those of the IQ."""
    rows = -(-count // decimation)
    cutoff = min(0.5 / decimation, f0_hz / fs_hz)
    first, _, near, kernel = _kernel(count, rows, step=float(decimation), cutoff=cutoff)
    cycles = carrier_cycles(near / decimation, fs_hz / decimation, demodulation)[:, None, :]
    turn = 2 * np.exp(-2j * np.pi * cycles) * kernel
    return _Bands(first, turn.real.astype(np.float32)), _Bands(first, turn.imag.astype(np.float32))


def _kernel(
    count: int, rows: int, *, step: float, cutoff: float
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """A sinc under Kaiser's window for every output row, in tiles: first row of the input that a tile sees, (T,);
    places of the output, (T, 16), and of the input, (T, L), in rows of the input; and the taps, (T, 16, L).

    `step` and `cutoff` are in rows of the input.
    """
    reach = _REACH * 0.5 / cutoff
    tiles = -(-rows // _TILE)
    at: Any = np.arange(tiles * _TILE).reshape(tiles, _TILE) * step
    length = math.ceil((_TILE - 1) * step + 2 * reach) + 2
    first = np.minimum(
        np.floor(at[:, 0] - reach).astype(np.intp), count
    )  # rows past the end are cut off again
    near = first[:, None] + np.arange(length, dtype=np.float64)
    away = at[:, :, None] - near[:, None, :]
    inside = np.sqrt(np.clip(1 - (away / reach) ** 2, 0, None))
    window = np.where(np.abs(away) <= reach, np.i0(_BETA * inside) / np.i0(_BETA), 0)
    taps: NDArray[np.float64] = 2 * cutoff * np.sinc(2 * cutoff * away) * window
    return first, at, near, taps


def carrier_cycles(at: NDArray[np.float64], fs_hz: float, demodulation: Demodulation) -> NDArray[np.float64]:
    """Cycles of the demodulation frequency from row 0 to the places `at`, in rows."""
    if not isinstance(demodulation, tuple):
        return at * (demodulation / fs_hz)
    place, hz = np.array(demodulation).T
    far = max(float(at.max()), place[-1]) + 1, min(float(at.min()), place[0]) - 1
    place = np.concatenate(([far[1]], place, [far[0]]))
    hz = np.concatenate((hz[:1], hz, hz[-1:]))
    whole = np.concatenate(([0.0], np.cumsum(np.diff(place) * (hz[1:] + hz[:-1]) / 2)))

    def integral(x: NDArray[np.float64]) -> Any:
        part = np.clip(np.searchsorted(place, x, side="right") - 1, 0, len(place) - 2)
        into = x - place[part]
        slope = (hz[part + 1] - hz[part]) / (place[part + 1] - place[part])
        return whole[part] + into * (hz[part] + into * slope / 2)

    cycles: NDArray[np.float64] = (integral(at) - integral(np.zeros(1))) / fs_hz
    return cycles
