"""A smooth coarse displacement from the envelopes alone, right to a wavelength or so, to start from.

Two looks. The first correlates the envelopes of both frames at every axial lag up to `LARGEST` and at a few lateral
ones, for speckle that has moved sideways by three lines no longer looks like itself. Correlations are averaged over the
lines of a band and over a window of depth. Each band takes the lateral lag at which most of its depth is alike; through
the correlations there the best continuous path along depth is found, by dynamic programming in both directions
(H. Rivaz et al., "Ultrasound elastography: a dynamic programming approach", IEEE Trans. Med. Imaging 27(10), 2008: the
idea; there for every sample). The second look moves the frame by that path and searches about it, axially and
laterally: a press of some percent moves the outer lines sideways by many. Each is made smooth by weighted least
squares. No weights to train, and no loop in the graph: there is a fixed number of windows, whatever the depth of the
frame.

Knows nothing of the network. Invariant: the result is finite, smooth and no larger than the lags allow, for frames that
have nothing in common, too.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from .complex import power
from .eigen_smoothing import EigenSmoothing
from .grids import block_mean, box_mean, box_min, interpolated
from .warp import warp

LARGEST = 80
"""Rows of the network's grid, one and a half a wavelength, that the first look goes: 53 wavelengths either way."""
FAR_SIDEWAYS = 4
"""Lines that it goes, either way."""
FAR_TOGETHER = 2
"""Neighbouring bands, either way, whose likeness counts for a band's lateral lag, too."""
LIKELIER = 480.0
"""How much a band's likeness at one lateral lag of the first look outweighs that at another: the exponent of a soft
maximum."""
ABOUT = 6
"""Rows of half that grid, on which both looks correlate, that the second goes, either way: 8 wavelengths."""
SIDEWAYS = 16
"""Lines that it goes, either way."""
WINDOWS = 32
"""Along depth."""
BANDS = 8
"""Across lines."""
LOOKS = 2
TILE = 32
"""Rows of one matrix product; every height of the network's grid is a multiple of it."""
LEVEL = (16, 32)
"""Rows and lines over which the envelope's own level is taken out."""
NOTHING = 1e-9
"""Mean power, of 1 in the whole frame, of a place without any echo or noise."""
WIDTH = 7.0
"""Rows: least standard deviation of a window along depth."""
STEP = 2
"""Rows of half the network's grid that the path may go from one window to the next."""
SHARP = 60.0
"""How much a peak of the correlation outweighs its neighbours: the exponent of a soft maximum."""
CHANCE = (0.16, 0.2)
"""Correlation that is found by chance, in the first and the second look."""
STEPS = 12
"""Of conjugate gradients."""
SPREAD = 2.0
"""Variance of the lag, in square rows or lines, from which on a peak counts for less."""
LEAST_SURE = 1e-3
FLOOR = 1e-5
"""Weight that is left to a window without any likeness: the path through it is still the best there is."""
STEADY = (7, 1)
"""Windows and bands over which a likeness must hold to be trusted."""
ROUGHNESS = (0.3, 3.0)
"""λ of the second differences of axial and lateral displacement, against a measurement of weight 1."""


class CoarseDisplacement(nn.Module):
    """The coarse displacement of a pair.

    Shapes: two signals (B, 2, H, M) on the network's grid, H a multiple of 32, M of 32 → (B, 2, H, M), axial in rows of
    that grid and lateral in lines.
    """

    def __init__(self) -> None:
        super().__init__()
        self.smoothing = EigenSmoothing(WINDOWS, BANDS, STEPS)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        a, b = speckle(first), speckle(second)
        axial = on_pixels(self._smooth(*self._far(a, b)), *first.shape[2:])
        found = torch.cat((axial, torch.zeros_like(axial)), dim=1)
        for _ in range(LOOKS):
            found = self._looked_about(a, b, found)
        return found

    def near(self, first: Tensor, second: Tensor, start: Tensor) -> Tensor:
        """The coarse displacement (B, 2, H, M) near one that is known: one second look about it, and no first look.

        `start` (B, 3, WINDOWS, BANDS): axial in rows, lateral in lines, and the weight of each window, 0 to 1.
        """
        known = self._smooth(start[:, :2], (start[:, 2:] + FLOOR).expand(-1, 2, -1, -1))
        return self._looked_about(speckle(first), speckle(second), on_pixels(known, *first.shape[2:]))

    def _looked_about(self, first: Tensor, second: Tensor, found: Tensor) -> Tensor:
        """The displacement `found` (B, 2, H, M), and what a look about it adds."""
        more = self._smooth(*self._about(first, warp(second, found.flip(1))))
        return found + on_pixels(more, *first.shape[2:])

    def _far(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Axial displacement and weight in each window, two (B, 1, WINDOWS, BANDS)."""
        found = likeness(first, second, LARGEST // 2, FAR_SIDEWAYS)
        highest = torch.unflatten(_averaged(found), 3, (FAR_SIDEWAYS + 1, LARGEST + 1)).amax(dim=4)
        whole = torch.matmul(_near(highest, BANDS, FAR_TOGETHER), highest.mean(dim=2)[:, None])
        share = torch.softmax(LIKELIER * whole, dim=3).transpose(1, 2)[..., None]  # (B, BANDS, 1, shifts, 1)
        found = (share * found).sum(dim=3).transpose(1, 2)  # (B, WINDOWS, BANDS, lags)
        at, height = _peak(_through(_beside(found)), found)
        return 2 * at[:, None], _trust(height, CHANCE[0])[:, None]

    def _about(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """What is missing, axially and laterally, and its weight, both (B, 2, WINDOWS, BANDS)."""
        flat = _averaged(likeness(first, second, ABOUT, SIDEWAYS))  # (B, BANDS, WINDOWS, shifts · lags)
        rows, aside = (
            torch.arange(-far, far + 1, step, device=first.device, dtype=first.dtype)
            for far, step in ((ABOUT, 1), (SIDEWAYS, 2))
        )
        at = torch.stack(((2 * rows).repeat(len(aside)), aside.repeat_interleave(len(rows))), dim=1)
        # a soft maximum, whose sum comes out of the same product as its moments
        share = torch.exp(SHARP * (flat - flat.amax(dim=3, keepdim=True)))
        sums = torch.matmul(share, torch.cat((torch.ones_like(at[:, :1]), at, at.square()), dim=1))
        mean, square = (sums[..., 1:] / sums[..., :1]).chunk(2, dim=3)
        height = (share * flat).sum(dim=3) / sums[..., 0]
        weight = _trust(height.transpose(1, 2), CHANCE[1])
        spread = (square - mean.square()).clamp_min(0.0).permute(0, 3, 2, 1)
        return mean.permute(0, 3, 2, 1), weight[:, None] * _sureness(spread)

    def _smooth(self, measured: Tensor, weight: Tensor) -> Tensor:
        """(B, C, WINDOWS, BANDS), each channel by itself."""
        batch = measured.shape[0]
        measured, weight = (torch.cat(torch.split(field, 1, dim=1)) for field in (measured, weight))
        one = torch.ones_like(measured[:batch, 0, :1, 0])  # a batch of each channel in turn
        cost = torch.cat([size * one for size in ROUGHNESS])[: measured.shape[0]]
        smooth = self.smoothing(measured, weight, cost)
        return torch.cat(torch.split(smooth.clamp(-LARGEST, LARGEST), batch), dim=1)


def speckle(signal: Tensor) -> Tensor:
    """Envelope (B, 1, H, M) of a signal (B, 2, H, M) over its local level, less its mean; 0 where there is no echo."""
    strength = power(signal)
    here = (box_mean(strength, 9, 3) > NOTHING).to(strength.dtype)
    here = box_min(here, 19, 1)  # nor where the tails of the filter reach
    envelope = torch.sqrt(strength.clamp_min(1e-12)) * here
    whole = envelope.mean(dim=(2, 3), keepdim=True)
    blocks = block_mean(torch.cat((envelope, here), dim=1), *LEVEL)
    blocks = functional.avg_pool2d(blocks, 3, 1, 1, count_include_pad=False)
    level = functional.pad(blocks[:, :1] / (blocks[:, 1:] + 1e-3), (1, 1, 1, 1), mode="replicate")
    level = interpolated(interpolated(level, LEVEL[1], 3), LEVEL[0], 2)
    return here * (envelope - level) / (level + 0.02 * whole + 1e-6)


def likeness(first: Tensor, second: Tensor, largest: int, aside: int) -> Tensor:
    """Correlation of two maps (B, 1, H, M) in each window of each band at each axial and lateral lag.

    The lags go to `largest` rows of half the grid and `aside` lines either way, both by two → (B, BANDS, WINDOWS,
    aside + 1, 2 · largest + 1).
    """
    # every second line serves; a lag of an even number of lines keeps to those
    first, second, furthest = block_mean(first, 2)[..., ::2], block_mean(second, 2)[..., ::2], aside // 2
    batch, _, height, lines = first.shape
    width, shifts = lines // BANDS, 2 * furthest + 1
    span, reach = 2 * largest + 1, -(-(TILE // 2 + 2 * largest) // (TILE // 2)) * (TILE // 2)
    wide = functional.pad(second, (furthest, furthest))
    band, line, shift = (
        torch.arange(count, device=first.device, dtype=torch.int64) for count in (BANDS, width, shifts)
    )
    at = (band * width)[:, None, None] + line[:, None] + shift  # (BANDS, width, shifts)
    left = first.reshape(batch, height, BANDS, width).permute(0, 2, 1, 3)
    right = _tiles(wide, largest, reach).transpose(3, 4).index_select(3, at.flatten())
    right = right.reshape(batch, -1, BANDS, width, shifts * reach).transpose(1, 2)
    windows = _windows(first)
    # of each lateral lag `reach` axial ones, the last of which mean nothing
    found = torch.unflatten(torch.matmul(windows, _diagonals(left, right)), 3, (shifts, reach))[..., :span]
    # all products of four axes: OpenVINO (2026.4) goes wrong on a constant that meets three here and four there
    moved = torch.matmul(windows, wide.square()).index_select(3, at.flatten())
    moved = torch.unflatten(moved, 3, (BANDS, width, shifts)).mean(dim=4)[:, 0].transpose(1, 2)
    own = torch.matmul(windows, left.square().mean(dim=3, keepdim=True))
    energy = (own + moved) / 2  # (B, BANDS, WINDOWS, shifts)
    whole = energy.mean(dim=(1, 2, 3), keepdim=True)
    return found / (energy + 0.05 * whole + 1e-12)[..., None]


def _tiles(image: Tensor, before: int, reach: int) -> Tensor:
    """Of each tile of `image` (B, C, H, L) its rows and those about it, `reach` from `before` above, 0 outside.

    The result is (B, C, tiles, reach, L), `reach` a multiple of the tile's rows.
    """
    batch, bands, height, lines = image.shape
    tile, extra = TILE // 2, reach // (TILE // 2)
    tiles = height // tile
    padded = functional.pad(image, (0, 0, before, reach - tile - before))
    blocks = padded.reshape(batch, bands, tiles + extra - 1, tile, lines)
    return torch.cat([blocks[:, :, k : k + tiles] for k in range(extra)], dim=3)


def _diagonals(first: Tensor, near: Tensor) -> Tensor:
    """Mean over lines of first[k] · near[tile of k, …, column + row of k in its tile], (B, C, H, columns).

    Shapes: `first` (B, C, H, L), `near` (B, C, tiles, L, columns). As `correlation`: products of tiles, whose diagonals
    are brought into columns by reading them with rows one longer; at the end of a row they mean nothing.
    """
    batch, bands, height, lines = first.shape
    tile, columns = TILE // 2, near.shape[4]
    left = first.reshape(batch, bands, -1, tile, lines) * (1.0 / lines)
    product = torch.matmul(left, near)  # (B, C, tiles, T, columns)
    flat = functional.pad(product.flatten(3), (0, tile))
    skewed = torch.unflatten(flat, 3, (tile, columns + 1))
    return skewed[..., :columns].reshape(batch, bands, height, columns)


def _averaged(found: Tensor) -> Tensor:
    """(B, BANDS, WINDOWS, shifts, lags) → (B, BANDS, WINDOWS, shifts · lags): means over 5 windows and 3 bands.

    At a border they are of those that there are.
    """
    flat = found.flatten(3)
    along = torch.matmul(_near(flat, WINDOWS, 2), flat)
    return torch.matmul(_near(flat, BANDS, 1), along.flatten(2)[:, None]).reshape(flat.shape)


def _near(like: Tensor, count: int, reach: int) -> Tensor:
    """(count, count): the mean over so many neighbours either way, of those that there are."""
    at = torch.arange(count, device=like.device, dtype=like.dtype)
    near = ((at[:, None] - at[None, :]).abs() <= reach).to(like.dtype)
    return near / near.sum(dim=1, keepdim=True)


def _windows(like: Tensor) -> Tensor:
    """(WINDOWS, H): Gaussians of sum 1, evenly along depth."""
    row = torch.arange(like.shape[2], device=like.device, dtype=like.dtype)
    count = row[-1] + 1
    centre = (torch.arange(WINDOWS, device=like.device, dtype=like.dtype) + 0.5) * count / WINDOWS - 0.5
    width = (0.6 * count / WINDOWS).clamp_min(WIDTH)
    gauss = torch.exp(-0.5 * ((row[None, :] - centre[:, None]) / width).square())
    return gauss / gauss.sum(dim=1, keepdim=True)


def _beside(found: Tensor) -> Tensor:
    """(B, WINDOWS, BANDS, lags): half of each band, a quarter of either neighbour."""
    before = torch.cat((found[:, :, :1], found[:, :, :-1]), dim=2)
    after = torch.cat((found[:, :, 1:], found[:, :, -1:]), dim=2)
    return 0.25 * before + 0.5 * found + 0.25 * after


def _through(found: Tensor) -> Tensor:
    """(B, WINDOWS, BANDS, lags): of the best path through each point, the sum over windows."""
    both = torch.cat((found, found.flip(1)), dim=2)  # downwards and upwards at once
    totals = [both[:, 0]]
    for step in both.unbind(dim=1)[1:]:
        totals.append(step + functional.max_pool1d(totals[-1], 2 * STEP + 1, 1, STEP))
    down, up = torch.stack(totals, dim=1).chunk(2, dim=2)
    return down + up.flip(1) - found


def _peak(best: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
    """Where `best` is highest along its last axis, between lags, and how high `found` is there.

    Between lags by the parabola through a lag of `found` and its neighbours: what is a whole lag off, the second look
    may leave so.
    """
    share = torch.softmax(SHARP * best, dim=3)
    furthest = best.shape[3] // 2
    lags = torch.arange(-furthest, furthest + 1, device=best.device, dtype=best.dtype)
    before, after = functional.pad(found[..., :-1], (1, 0)), functional.pad(found[..., 1:], (0, 1))
    bend = (2 * (2 * found - before - after)).clamp_min(1e-3)
    between = ((after - before) / bend).clamp(-0.5, 0.5)
    return (share * (lags + between)).sum(dim=3), (share * found).sum(dim=3)


def _sureness(variance: Tensor) -> Tensor:
    """1 for one sharp peak; next to nothing where many lags are as likely, as along layers that look alike."""
    return 1 / (1 + variance / SPREAD).square() + LEAST_SURE


def _trust(height: Tensor, chance: float) -> Tensor:
    """(B, WINDOWS, BANDS): the weight of each window, from how alike it and those about it are."""
    about = functional.avg_pool2d(
        height[:, None], STEADY, 1, (STEADY[0] // 2, STEADY[1] // 2), count_include_pad=False
    )
    return (torch.minimum(height, about[:, 0]) - chance).clamp_min(0.0).square() + FLOOR


def on_pixels(field: Tensor, height: int, width: int) -> Tensor:
    """Interpolate (B, C, WINDOWS, BANDS) to (B, C, H, M), linear between the middles of windows and bands."""

    def weights(count: int, size: int) -> Tensor:
        at = torch.arange(size, device=field.device, dtype=field.dtype)
        at = (at + 0.5) * (count / (at[-1] + 1)) - 0.5
        below = torch.floor(at).clamp(0, count - 2)
        share = at - below
        node = torch.arange(count, device=field.device, dtype=field.dtype)[None, :]
        lower, upper = (node == below[:, None]).to(field.dtype), (node == below[:, None] + 1).to(field.dtype)
        return lower * (1 - share)[:, None] + upper * share[:, None]

    return weights(WINDOWS, height) @ field @ weights(BANDS, width).T
