"""A look at the samples of a frame that is told to be IQ.

Of IQ the phase is as good as random from speckle to speckle: the mean of z² is small beside that of |z|², and that of z
times its conjugate a sample earlier shows at which frequency the echo lies. Where I and Q are two RF lines, two samples
of one, or an envelope and nothing, the mean of z² is large. The bounds were tried on public RF of three scanners and on
the whole range of the simulator (f0/fs .05 to .4, bandwidth .25 to .9), turned down by .8 to 1.2 f0 with one sample of
1 to 6, clean, noisy, clipped and on an offset (`tests/core/test_signal_check_iq.py`), and have room on both sides.

Not to be seen in one frame: Q of the wrong sign, and a demodulation frequency that is wrong together with f0 by less
than some five times; lines first only where the two frequencies differ (two frames that moved show them: `axes.py`).
Knows samples and a `Scan`. Invariant: that of the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frame import Scan
from ..iq import carrier_cycles
from .signal import Signal, SignalKind

Complex = NDArray[np.complex128]

_BLOCK = 64
"""Rows of a spectrum."""
_MOST = (8, 64)
"""Blocks along depth, and lines, that are looked at."""
_LEAST_ROWS = 32
_FAINT = 0.003
"""Root energy of a block, over that of the strongest, below which there is no echo in it: 50 dB."""
_LEFT = 1e-4
"""Share of the energy that must be left when what is common to all lines is taken away, such as an offset."""
_IMPROPER = 0.6
"""|mean of z²| over the mean of |z|²: IQ has .25 and less, what is not in quadrature .75 and more."""
_IMPROPER_FEW, _FEW_LINES, _ALIKE = 0.999, 8, 0.99
"""The same for a few lines, or for lines that are all the same, of which the phase hardly changes in a block."""
_PROPER = 0.35
_NOISE = 0.15
"""Correlation of neighbours along depth and across below which there is noise only: echoes have .3 and more."""
_ECHO = 0.3
_ALONE = 1e-4
"""Energy of Q, over that of I, up to which there is none."""
_AWAY = 0.4
"""Distance of the echo's frequency from f0, as a share of it, up to which both agree: a broad pulse deep down, or a
nominal f0."""
_BESIDE, _THERE = 0.05, 0.25
"""Distance of f0 from the demodulation frequency, in cycles per sample, from which one can tell depth by it; and the
error, as a share of it, up to which the echo lies there."""
_NARROW = 0.1
"""Width of the spectrum, over f0, below which f0 is too high: pulses have .25 and more, noise makes it wider."""
CARRIER = (
    "--kind rf takes the real part, --kind rf-lines that of lines of RF and of its Hilbert transform in turns"
)
"""Remedy where IQ was not turned down."""
_HOLLOW = 0.15
"""Density of the energy at its centre over its peak below which the centre lies between two lobes."""


def check_iq(samples: NDArray[Any], scan: Scan) -> Signal:
    """Compare `samples` (N, M, 2) of any real type with IQ of the frequencies in `scan`. A few milliseconds."""
    view = _look(samples, scan)
    if view is None:
        swapped = _look(_byteswapped(samples), scan)
        if swapped is not None and swapped.good:
            return Signal(kind="byte_order", line=_SWAPPED)
        return Signal(kind="blank")
    kind, line = _judge(samples, view, scan)
    return Signal(kind=kind, share=view.share, line=line)


_PICTURE: tuple[SignalKind, str] = (
    "picture",
    "looks like B-mode or envelopes in pairs, of one sign: usert needs RF or IQ",
)
_SWAPPED = "looks like IQ with its bytes in the other order: swap them"


@dataclass(frozen=True, slots=True)
class _View:
    """Measures of a frame."""

    improper: float
    """|mean of z²| over the mean of |z|², of the median block."""
    along: float
    """Correlation of neighbours along depth, 0 to 1."""
    across: float
    """Correlation of neighbours across, 0 to 1."""
    away: float
    """Where the energy lies beside f0, in cycles per sample."""
    share: float
    """Share of the energy within .5 to 1.5 f0."""
    width: float
    """Of the spectrum where it has a quarter of its peak or more, in cycles per sample."""
    few: bool
    """Whether there are but a few lines that differ."""

    @property
    def good(self) -> bool:
        """Whether it is surely IQ of some frequency."""
        return self.improper < _PROPER and max(self.along, self.across) > _ECHO


def _judge(samples: NDArray[Any], view: _View, scan: Scan) -> tuple[SignalKind, str]:
    one_sided = [_one_sided(samples[..., part]) for part in (0, 1)]
    if view.improper > (_IMPROPER_FEW if view.few else _IMPROPER):
        return _not_in_quadrature(samples, scan, one_sided)
    if max(view.along, view.across) < _NOISE:
        swapped = _look(_byteswapped(samples), scan)
        if swapped is not None and swapped.good:
            return "byte_order", _SWAPPED
        return "noise", "neighbouring samples have nothing in common: noise, or not IQ"
    if any(one_sided):
        if all(one_sided) and view.improper > _PROPER:
            return _PICTURE
        return "offset", "I or Q is of one sign, expected samples about 0: subtract their middle, if it is IQ"
    if _lines_first(samples, view, scan):
        return "lines_first", "looks like IQ with lines first: --transpose"
    if abs(view.away) * scan.fs_hz > _AWAY * scan.f0_hz:
        away_hz = view.away * scan.fs_hz
        side = "above" if away_hz > 0 else "below"
        found = (
            f"the energy along depth lies {abs(away_hz) / 1e6:.2g} MHz {side} f0 ({scan.f0_hz / 1e6:.4g} MHz)"
        )
        if _has_carrier(away_hz, scan):
            return "carrier", f"{found}, the carrier is still in it: {CARRIER}"
        return "f0", f"{found}, expected about it: --demodulation-mhz, --f0-mhz, --fs-mhz, or --kind?"
    if (width_hz := view.width * scan.fs_hz) < _NARROW * scan.f0_hz:
        return "f0", (
            f"the energy along depth is {width_hz / 1e6:.2g} MHz wide, {100 * width_hz / scan.f0_hz:.1g} % of f0 "
            f"({scan.f0_hz / 1e6:.4g} MHz), expected 25 or more: --demodulation-mhz, --f0-mhz, or --fs-mhz?"
        )
    return "iq", ""


def _not_in_quadrature(samples: NDArray[Any], scan: Scan, one_sided: list[bool]) -> tuple[SignalKind, str]:
    in_phase, quadrature = (float((samples[..., part].astype(np.float64) ** 2).sum()) for part in (0, 1))
    if min(in_phase, quadrature) <= _ALONE * max(in_phase, quadrature):
        part, other = ("Q", 0) if quadrature < in_phase else ("I", 1)
        if one_sided[other]:
            return "picture", f"{part} is zero: looks like B-mode or an envelope: usert needs RF or IQ"
        return "no_quadrature", f"{part} is zero: looks like RF: --kind rf"
    if all(one_sided):
        return _PICTURE
    found = "I and Q go together, expected them in quadrature"
    others = {"pairs": _pairs_of(_as_lines(samples)), "lines": _lines_of(_as_pairs(samples))}
    looks = ((kind, _look(other, scan)) for kind, other in others.items())
    better = {
        kind: look.along + look.across
        for kind, look in looks
        if look is not None and look.good and abs(look.away) * scan.fs_hz < _AWAY * scan.f0_hz
    }
    if better:
        return "no_quadrature", f"{found}: --kind iq-{max(better, key=lambda kind: better[kind])}"
    return "no_quadrature", f"{found}: looks like RF or a picture taken for I and Q: --kind rf, if it is RF"


def _one_sided(samples: NDArray[Any]) -> bool:
    return bool(samples.min() >= 0 or samples.max() <= 0)


def _lines_first(samples: NDArray[Any], view: _View, scan: Scan) -> bool:
    """Whether the echo lies beside the carrier, as it should, across, and at the carrier along depth."""
    if isinstance(scan.demodulation_hz, tuple) or scan.demodulation_hz is None:
        return False
    beside = (scan.demodulation_hz - scan.f0_hz) / scan.fs_hz
    if abs(beside) < _BESIDE or abs(view.away - beside) > _THERE * abs(beside):
        return False
    across = _look(samples.swapaxes(0, 1), scan)
    return across is not None and across.good and abs(across.away) < _THERE * abs(beside)


def _has_carrier(away_hz: float, scan: Scan) -> bool:
    """Whether an echo so far above f0 lies in the samples at f0 or -f0, and is sampled finely enough for that."""
    told = scan.demodulation_hz or 0.0
    down_hz = float(np.mean([hz for _, hz in told])) if isinstance(told, tuple) else told
    there_hz = away_hz + scan.f0_hz - down_hz
    return scan.cycles_per_sample < 0.5 and abs(abs(there_hz) - scan.f0_hz) < _AWAY * scan.f0_hz


def _as_lines(samples: NDArray[Any]) -> NDArray[Any]:
    """(N, M, 2) → (N, 2 M): a line of I, a line of Q, and so on."""
    return samples.reshape(len(samples), -1)


def _as_pairs(samples: NDArray[Any]) -> NDArray[Any]:
    """(N, M, 2) → (2 N, M): I and Q in turns along depth."""
    return samples.swapaxes(1, 2).reshape(-1, samples.shape[1])


def _pairs_of(samples: NDArray[Any]) -> NDArray[Any]:
    """(N, M) → (N / 2, M, 2), of I and Q in turns along depth."""
    return np.stack((samples[: len(samples) // 2 * 2 : 2], samples[1::2]), axis=-1)


def _lines_of(samples: NDArray[Any]) -> NDArray[Any]:
    """(N, M) → (N, M / 2, 2), of a line of I, a line of Q, and so on."""
    return _pairs_of(samples.T).swapaxes(0, 1)


def _byteswapped(samples: NDArray[Any]) -> NDArray[Any]:
    return samples.byteswap() if samples.dtype.kind in "if" else samples


def _look(samples: NDArray[Any], scan: Scan) -> _View | None:
    """None where there is no energy, or no number, or few rows."""
    rows, lines = samples.shape[:2]
    size = min(_BLOCK, rows)
    carrier = scan.demodulation_hz or 0.0
    if size < _LEAST_ROWS or lines == 0:
        return None
    step = max(1, lines // _MOST[1])
    starts = np.linspace(0, rows - size, min(_MOST[0], max(1, 2 * rows // size - 1))).astype(int)
    at = starts[:, None] + np.arange(size)
    with np.errstate(invalid="ignore", over="ignore"):  # not a number, which is found next
        parts = samples[at].astype(np.float64)  # (B, size, M, 2)
    peak = float(np.abs(parts).max())
    if not (np.isfinite(peak) and peak > 0):
        return None
    blocks = (parts[..., 0] + 1j * parts[..., 1]) / peak
    blocks = _without_common(blocks)
    across = _correlation(blocks[..., 1:], blocks[..., :-1]) if lines > 1 else 0.0
    blocks = blocks[..., ::step]
    energy = (np.abs(blocks) ** 2).sum(axis=1, keepdims=True)
    if not energy.any():
        return None
    # By the roots of their energies: a bright line must not count for all.
    blocks = blocks / np.sqrt(np.sqrt(np.where(energy > 0, energy, 1)))
    whole = (np.abs(blocks) ** 2).sum(axis=(1, 2))
    echoes = whole > _FAINT * whole.max()
    blocks, whole, at = blocks[echoes], whole[echoes], at[echoes]
    improper = float(np.median(np.abs((blocks**2).sum(axis=(1, 2))) / whole))
    turn = carrier_cycles(at.astype(np.float64), scan.fs_hz, carrier) - at * scan.cycles_per_sample
    blocks = blocks * np.exp(2j * np.pi * turn)[..., None]  # about f0
    along = _correlation(blocks[:, 1:], blocks[:, :-1])
    power = (np.abs(np.fft.fft(blocks * np.hanning(size + 2)[1:-1, None], axis=1)) ** 2).sum(axis=2)
    spectrum = (power / power.sum(axis=1, keepdims=True)).mean(axis=0)
    frequency = np.fft.fftfreq(size)
    return _View(
        improper=improper,
        along=along,
        across=across,
        away=_centre(spectrum, frequency),
        share=float(spectrum[np.abs(frequency) <= 0.5 * scan.cycles_per_sample].sum()),
        width=float((_smooth(spectrum) >= _smooth(spectrum).max() / 4).mean()),
        few=lines < _FEW_LINES or across > _ALIKE,
    )


def _without_common(blocks: Complex) -> Complex:
    """Without what all lines have in common, unless that is nearly all that there is."""
    alone = blocks - blocks.mean(axis=2, keepdims=True)
    left = (np.abs(alone) ** 2).sum() >= _LEFT * (np.abs(blocks) ** 2).sum()
    return alone if left else blocks


def _correlation(first: Complex, second: Complex) -> float:
    energy = np.sqrt((np.abs(first) ** 2).sum() * (np.abs(second) ** 2).sum())
    return float(np.abs((first * second.conj()).sum()) / energy) if energy > 0 else 0.0


def _smooth(spectrum: NDArray[Any]) -> NDArray[Any]:
    """Means of three neighbours on the circle of frequencies."""
    return np.asarray((spectrum + np.roll(spectrum, 1) + np.roll(spectrum, -1)) / 3)


def _centre(spectrum: NDArray[Any], frequency: NDArray[Any]) -> float:
    """In cycles per sample: that of all energy on the circle of frequencies; of two lobes that of the greater."""
    smooth = _smooth(spectrum)
    centre = float(np.angle((spectrum * np.exp(2j * np.pi * frequency)).sum())) / (2 * np.pi)
    nearest = round(centre * len(frequency)) % len(frequency)
    if smooth[nearest] < _HOLLOW * smooth.max():
        return float(frequency[smooth.argmax()])
    return centre
