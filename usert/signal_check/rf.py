"""A look at the samples of a frame that is told to be RF at some centre frequency.

The energy of RF lies along depth between about .5 and 1.5 f0; that of B-mode, envelopes, demodulated I/Q, frames with
lines first and samples in the wrong byte order does not. The bounds were tried on all of these, on public RF of three
scanners and on the whole range of the simulator (f0/fs .05 to .4, bandwidth .25 to .9), clean, noisy, clipped and on a
drifting offset (`tests/core/test_signal_check.py`), and have room on both sides.

Knows samples and a `Scan`. Invariant: that of the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frame import Scan
from .signal import Signal, SignalKind

_BLOCK = 256
"""Samples of a spectrum."""
_MOST = (8, 32)
"""Blocks along the axis, and lines across it, that a spectrum is averaged over."""
_LEAST_SAMPLES = 32
_LEAST_CYCLES = 4
"""Of the echo in a block, for its spectrum to show them."""
_LEAST_ACROSS = 64
"""Lines from which the spectrum across them tells anything."""
_GOOD = 0.6
"""Share of the energy near f0 from which samples pass: good RF has .86 and more, one public file .68."""
_SURE = 0.5
"""Energy outside the band, as a share of what white noise has there, up to which samples are surely RF."""
_PICTURE = 0.35
"""Share of the energy near f0 below which samples may be B-mode, an envelope or I/Q, which have .25 and less."""
_LOW = 0.25
"""Density of the energy next to zero frequency over its peak: RF has less, B-mode, envelopes and I/Q more."""
_AGAIN = 3.0
"""Rise of the density towards higher frequencies up to which it is chance: RF upon a drifting offset rises more."""
_FAINT = 0.003
"""Root energy of a block, over that of the strongest, below which there is no echo in it: 50 dB."""
_FLOOR = 0.02
"""Density over the mean one below which nothing is looked for."""
_HOLE, _IN_HOLE = 8192, 0.001
"""Values about 0 that unsigned samples taken for signed do not have, and the share of RF that is there at least."""
_LOW_SHARE = 0.4
"""Share of the energy in the lowest quarter of the spectrum: of these kinds more, of white noise a quarter."""


def check_rf(samples: NDArray[Any], scan: Scan) -> Signal:
    """Compare `samples` (N, M), of any real type, with RF of the frequencies in `scan`. A millisecond or two."""
    cycles = scan.cycles_per_sample
    if cycles * min(samples.shape[0], _BLOCK) < _LEAST_CYCLES:
        return Signal(kind="blank")
    depth = _spectrum(samples, cycles)
    if depth is None:
        kind: SignalKind = "byte_order" if _swapped(samples, cycles) else "blank"
        return Signal(kind=kind, line=_line(kind, _NOTHING, scan))
    kind = _kind(samples, depth, cycles)
    return Signal(kind=kind, share=depth.share(cycles), line=_line(kind, depth, scan))


@dataclass(frozen=True, slots=True)
class _Spectrum:
    """Energy of samples along an axis."""

    power: NDArray[np.float64]
    """(K,): from 0 to half the sampling frequency; 1 in all."""

    @property
    def frequency(self) -> NDArray[np.float64]:
        """(K,): cycles per sample."""
        return np.linspace(0, 0.5, len(self.power))

    def share(self, cycles: float) -> float:
        """Share of the energy within .5 to 1.5 of the frequency `cycles`."""
        return float(self.power[_band(self.frequency, cycles)].sum())

    def sure(self, cycles: float) -> bool:
        """Whether the energy is gathered about `cycles`, by a margin beyond that of noise."""
        white = float(_band(self.frequency, cycles).mean())
        return 1 - self.share(cycles) <= _SURE * (1 - white)

    @property
    def smooth(self) -> NDArray[np.float64]:
        """(K,): means of three neighbours."""
        return np.convolve(np.pad(self.power, 1, mode="edge"), np.full(3, 1 / 3), mode="valid")

    @property
    def low_pass(self) -> bool:
        """Whether the energy is densest next to zero frequency, sparse far from it, and nowhere gathered again."""
        smooth = self.smooth
        low = float(self.power[self.frequency <= 0.125].sum())
        rest = smooth[3:] + _FLOOR / len(smooth)
        again = float((rest / np.minimum.accumulate(rest)).max())
        return bool(smooth[1:4].max() >= _LOW * smooth.max()) and low >= _LOW_SHARE and again < _AGAIN

    @property
    def centre(self) -> float:
        """Centre of the energy about the peak, in cycles per sample."""
        frequency = self.frequency
        near = _band(frequency, max(float(frequency[self.smooth.argmax()]), float(frequency[1])))
        return float((self.power * frequency)[near].sum() / self.power[near].sum())


_IQ = "--kind iq-{} and --demodulation-mhz"
_NOTHING = _Spectrum(np.full(_BLOCK // 2 + 1, 2 / (_BLOCK + 2)))


def _band(frequency: NDArray[np.float64], cycles: float) -> NDArray[np.bool_]:
    return (frequency >= 0.5 * cycles) & (frequency <= 1.5 * cycles)


def _spectrum(samples: NDArray[Any], cycles: float) -> _Spectrum | None:
    """Mean spectrum along the first axis; None where there is no energy, or no number.

    Of the blocks along depth the better half counts, that with more energy about `cycles`: in the others lie noise,
    reverberations and the steps where a scanner blanks or saturates.
    """
    size = min(_BLOCK, samples.shape[0])
    if size < _LEAST_SAMPLES:
        return None
    lines = samples[:, :: max(1, samples.shape[1] // _MOST[1])]
    starts = np.linspace(0, samples.shape[0] - size, min(_MOST[0], max(1, 2 * samples.shape[0] // size - 1)))
    blocks = np.stack([lines[int(start) : int(start) + size] for start in starts])
    with np.errstate(invalid="ignore"):  # not a number, which is found next
        blocks = blocks.astype(np.float64)
    peak = float(np.abs(blocks).max())
    if not (np.isfinite(peak) and peak > 0):
        return None
    blocks /= peak
    blocks -= blocks.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(blocks * np.hanning(size + 2)[1:-1, None], axis=1)) ** 2
    energy = power.sum(axis=1, keepdims=True)
    # By the roots of their energies: a bright line must not count for all.
    power = (power / np.sqrt(np.where(energy > 0, energy, 1))).sum(axis=2)
    root_energy = power.sum(axis=1, keepdims=True)
    echoes = root_energy[:, 0] > _FAINT * root_energy.max()
    if not echoes.any():
        return None
    power = power[echoes] / root_energy[echoes]
    shares = power[:, _band(np.linspace(0, 0.5, power.shape[1]), cycles)].sum(axis=1)
    return _Spectrum(power[np.argsort(shares)[len(shares) // 2 :]].mean(axis=0))


def _kind(samples: NDArray[Any], depth: _Spectrum, cycles: float) -> SignalKind:
    negative = bool(samples.min() < 0)
    if _unsigned(samples):
        return "unsigned"
    if depth.sure(cycles):
        return "rf" if negative else "offset"
    if _swapped(samples, cycles):
        return "byte_order"
    if _lines_first(samples, depth, cycles):
        return "lines_first"
    if depth.low_pass and not negative:
        return "picture"
    share = depth.share(cycles)
    if share < _GOOD and _in_turns(samples, depth, cycles):
        return "iq_turns"
    if share < _PICTURE and depth.low_pass:
        return "demodulated"
    if share >= _GOOD:
        return "rf"
    return "f0" if depth.sure(depth.centre) else "noise"


def _unsigned(samples: NDArray[Any]) -> bool:
    """Whether they were unsigned of 16 bits, about 32768, and were taken for signed: far from 0 on both sides of it,
    and not clipped."""
    if samples.dtype.kind != "i" or samples.dtype.itemsize != 2 or not samples.min() < 0 < samples.max():
        return False
    about_0 = (samples > -_HOLE) & (samples < _HOLE)
    clipped = (samples == samples.max()) | (samples == samples.min())
    return float(about_0.mean()) < _IN_HOLE and float(clipped.mean()) < 0.5


def _swapped(samples: NDArray[Any], cycles: float) -> bool:
    """Whether they are RF with their bytes in the other order."""
    if samples.dtype.kind not in "if" or samples.dtype.itemsize == 1:
        return False
    swapped = _spectrum(samples.byteswap(), cycles)
    return swapped is not None and swapped.sure(cycles)


def _lines_first(samples: NDArray[Any], depth: _Spectrum, cycles: float) -> bool:
    if samples.shape[1] < _LEAST_ACROSS:
        return False
    across = _spectrum(samples.T, cycles)
    return (
        across is not None
        and across.sure(cycles)
        and not across.low_pass
        and across.share(cycles) > depth.share(cycles) + 0.2
    )


def _in_turns(samples: NDArray[Any], depth: _Spectrum, cycles: float) -> bool:
    """Even and odd rows are both of low frequency, and have nothing to do with each other."""
    halves = [_spectrum(samples[k::2], cycles) for k in (0, 1)]
    lower = float(depth.power[depth.frequency < 0.25].sum())
    smooth = depth.smooth
    ends = min(smooth[1:4].max(), smooth[-4:-1].max()) >= _LOW * smooth.max()
    return ends and abs(lower - 0.5) < 0.1 and all(half is not None and half.low_pass for half in halves)


def _line(kind: SignalKind, depth: _Spectrum, scan: Scan) -> str:
    share = depth.share(scan.cycles_per_sample)
    found = f"{100 * share:.0f} % of the energy along depth is near {scan.f0_hz / 1e6:.4g} MHz, expected 70 or more"
    match kind:
        case "picture":
            return f"looks like B-mode or an envelope, never negative ({found}): usert needs RF or IQ"
        case "demodulated":
            return (
                f"looks like demodulated I/Q, or a picture in dB ({found}): of I and Q, {_IQ.format('lines')}"
            )
        case "iq_turns":
            return f"looks like I and Q in turns along depth ({found}): {_IQ.format('pairs')}"
        case "lines_first":
            return f"looks like frames with lines first ({found}, and across the lines it is): --transpose"
        case "byte_order":
            return "looks like RF with its bytes in the other order: swap them"
        case "offset":
            return "looks like RF that is never negative, expected samples about 0: subtract their middle"
        case "unsigned":
            return "looks like unsigned samples taken for signed, none about 0: subtract 32768"
        case "f0":
            there_mhz = depth.centre * scan.fs_hz / 1e6
            return f"{found}; it lies about {there_mhz:.2g} MHz: --f0-mhz, or --fs-mhz?"
        case "noise":
            return f"{found}: noise, or not RF"
        case _:
            return ""
