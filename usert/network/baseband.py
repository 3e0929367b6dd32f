"""The front end `baseband`: frames as their complex envelope on a grid of fixed samples a wavelength.

Each line is turned down by the nominal carrier, filtered and resampled at once: small matrix products, one for each
stretch of depth, whose matrices are made of the grid's depths, so that one graph serves every sampling and centre
frequency. What the pair's mean
frequency still differs from the nominal one (attenuation, a wrong centre frequency) is measured and taken out, too.
Frames that are IQ already lack the first turn only.

The network sees half of the grid's rows (`halved`), in three channels that a common shift of phase leaves as they are:
the envelope, and the product of each sample with the conjugate of the one above, as strong as an echo again.

Knows nothing of the network. Invariant: a factor common to a frame's samples, of size or of phase, changes nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from ..front_end import SAMPLES_PER_WAVELENGTH
from .complex import angle, cosine, power, sine, times, turn, turned
from .grids import block_mean, interpolated

REACH = 3.0
"""Wavelengths that the filter reaches either side."""
CUTOFF, LEAST_CUTOFF = 0.75, 0.3
"""Of the filter, over the centre frequency: between the widest pulse, 0.45, and the mirror image at 2 - 0.45; less
where RF is sampled so sparsely that the image comes nearer."""
SHARE = 0.45
"""Cutoff over the sampling frequency for IQ that is sampled too sparsely for `CUTOFF`."""
BLOCK = (8, 16)
"""Rows of the network's grid and lines over which the level of the echoes is averaged, before 3 × 3 of such."""
FLOOR = 1e-3
"""Least level, relative to the mean power of the pair: what lies 30 dB below it is not amplified further."""
LEAST = 1e-12
TILE = 64
"""Rows of the grid of one matrix product. Grids have a multiple of them."""


class Signals(NamedTuple):
    """A pair in baseband, each frame at an rms of 1."""

    first: Tensor
    """Reference frame (B, 2, K, M): real and imaginary part."""
    second: Tensor
    """Current frame (B, 2, K, M), likewise."""
    frequency: Tensor
    """Carrier (B, 1, 1, 1) in radians a row of the grid."""


def halved(signals: Signals) -> Signals:
    """The pair on the network's grid, of half as many rows: means of two, each (B, 2, K / 2, M)."""
    return Signals(block_mean(signals.first, 2), block_mean(signals.second, 2), 2 * signals.frequency)


def taps(away: Tensor, at: Tensor, spacing: Tensor, *, iq: bool = False) -> tuple[Tensor, Tensor | None]:
    """Real and imaginary part of the filter from samples to rows of the grid, each of the shape of `away`.

    `away` is the distance of each sample below a row, `at` its own position, both in samples; `spacing` is the distance
    of the rows. For IQ, whose samples have been turned down by the same carrier, the imaginary part is None.
    """
    cycles = 1 / (SAMPLES_PER_WAVELENGTH * spacing)  # of the carrier, a sample
    if iq:
        cutoff = (CUTOFF * cycles).clamp_max(SHARE)
    else:  # half-way to where sampling puts the mirror image, at fs - 2 f0
        cutoff = torch.minimum(CUTOFF * cycles, (0.5 - cycles).clamp_min(LEAST_CUTOFF * cycles))
    x = ((2 * math.pi) * cutoff * away.abs()).clamp_min(1e-4)
    edge = (away * (cycles / REACH)).clamp(-1.0, 1.0)
    real = sine(x) / x * (cutoff + cutoff * cosine(math.pi * edge))  # under Hann's window
    if iq:
        return real, None
    # whole turns are left out in float32 by counting cycles, not radians
    phase = (2 * math.pi) * torch.remainder(cycles * at, 1.0)
    return real * cosine(phase), -real * sine(phase)


def resampled(frames: Tensor, depths: Tensor) -> Tensor:
    """Frames on the depth grid that covers them (`usert.front_end.grid_rows`).

    Shapes: RF (B, 1, N, M) or IQ (B, 2, N, M), depths (K,), K a multiple of 64 → (B, 2, K, M).

    A row of the grid needs the samples within `REACH` only, so each tile of rows has a matrix of its own, with as many
    samples as the sampling of a grid of K rows for N samples can call for.
    """
    batch, parts, rows, lines = frames.shape
    tiles = depths.shape[0] // TILE
    # rows of the grid that a tile reaches over; of K rows more than K - TILE lie on the frame (`grid_rows`)
    needed = TILE + math.ceil(2 * REACH * SAMPLES_PER_WAVELENGTH)
    least = torch.sym_max(TILE * (tiles - 1), 1)  # type: ignore[no-untyped-call]
    length = torch.sym_min(rows, needed * rows // least + 2)  # type: ignore[no-untyped-call]
    spacing = depths[1] - depths[0]
    middle = depths.reshape(tiles, TILE)
    first = torch.floor((middle[:, :1] + middle[:, -1:]) / 2) - (length - 1) // 2
    first = first.clamp_min(0.0).clamp_max(rows - length)
    at = first + torch.arange(length, device=depths.device, dtype=torch.float32)  # (tiles, length)
    real, imaginary = taps(at[:, None, :] - middle[:, :, None], at[:, None, :], spacing, iq=parts == 2)
    near = frames.index_select(2, at.to(torch.int64).reshape(-1)).reshape(batch, parts, tiles, length, lines)
    # (2, T, 64, L) · (B, 1, T, L, M), or (T, 64, L) · (B, 2, T, L, M)
    matrix = real if imaginary is None else torch.stack((real, imaginary))
    signal = torch.matmul(matrix, near)
    return signal.reshape(batch, 2, tiles * TILE, lines)


def baseband(first: Tensor, second: Tensor, depths: Tensor) -> Signals:
    """Baseband of two frames, RF (B, N, M) or IQ (B, 2, N, M), on the grid of `depths` (K,) in samples.

    K is a multiple of 64. Errors: `ValueError` for frames of different or another shape.
    """
    iq = first.ndim == 4
    if first.shape != second.shape or first.ndim not in (3, 4) or (iq and first.shape[1] != 2):
        raise ValueError(
            f"got {tuple(first.shape)} and {tuple(second.shape)}, expected one shape (B, N, M) or (B, 2, N, M)"
        )
    frames = torch.cat((first, second)).float()
    signal = resampled(frames if iq else frames[:, None], depths)
    # below the frame the tail of its filter still looks like an echo, and the same in both frames
    signal = signal * (depths <= first.shape[-2] - 1).to(signal.dtype)[:, None]
    size = power(signal).mean(dim=(2, 3), keepdim=True)
    signal = signal * torch.rsqrt(size.clamp_min(1e-30))
    lag = lag_one(signal).sum(dim=(2, 3), keepdim=True)
    away = angle(lag[: first.shape[0]] + lag[first.shape[0] :])
    row = torch.arange(signal.shape[2], device=signal.device, dtype=torch.float32)[:, None]
    down = turn(-away * row)
    a, b = signal.chunk(2)
    return Signals(times(a, down), times(b, down), away + 2 * math.pi / SAMPLES_PER_WAVELENGTH)


def lag_one(signal: Tensor) -> Tensor:
    """Product (B, 2, K, M) of each sample of `signal` with the conjugate of the one above; 0 in the last row."""
    return functional.pad(times(signal[:, :, 1:], signal[:, :, :-1], conjugate=True), (0, 0, 0, 1))


def channels(first: Tensor, second: Tensor, *, shift: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Input of the network (B, 3, H, M) from each of two signals (B, 2, H, M) on its own grid, every second row.

    The channels are the envelope, and real and imaginary part of the product of neighbours along depth, all over the
    local level of the echoes, which both frames share. `shift` (B, 1, H, M) is the phase by which the carrier of
    `second` has been turned from each row to the next. H is a multiple of 8, M of 16.
    """
    strength_first, strength_second = power(first), power(second)
    mean = (strength_first + strength_second) / 2
    whole = mean.mean(dim=(2, 3), keepdim=True)
    blocks = functional.avg_pool2d(block_mean(mean, *BLOCK), 3, 1, 1, count_include_pad=False)
    level = functional.pad(blocks, (1, 1, 1, 1), mode="replicate")
    level = interpolated(interpolated(level, BLOCK[1], 3), BLOCK[0], 2)
    gain = torch.rsqrt((level + FLOOR * whole).clamp_min(1e-30))

    def three(signal: Tensor, strength: Tensor, shift: Tensor | None) -> Tensor:
        lag = lag_one(signal)
        if shift is not None:
            lag = turned(lag, -shift)
        below = functional.pad(strength[:, :, 1:], (0, 0, 0, 1))
        size = (strength * below).clamp_min(LEAST).sqrt().sqrt()  # |z(n)| |z(n + 1)| has the unit of a power
        return torch.cat((strength.clamp_min(LEAST).sqrt(), lag / size), dim=1) * gain

    return three(first, strength_first, None), three(second, strength_second, shift)
