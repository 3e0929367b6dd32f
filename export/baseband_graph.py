"""One graph for a whole pair, for the front end `baseband`: scanner samples and depths in, picture out.

    (reference, current, depths) → displacement, strain, quality

`depths` (K,) are those of `usert.front_end.depth_grid`: they tell the graph how the frames are sampled, which is all of
the scanner's geometry that it needs. Lengths along depth are counted in wavelengths of the echo, so that one tissue
gives one image whatever the sampling.

**Quality covers the whole window**: the strain of a pixel is a slope over a window, so its quality is the least
correlation of the frames within that window.

Knows nothing of ONNX. Invariant: any frame shape gives outputs of that shape; nothing below the last sample counts.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from usert.front_end import SAMPLES_PER_WAVELENGTH, FrontEnd
from usert.network.baseband import TILE
from usert.network.companding import moved
from usert.network.complex import power, times
from usert.network.grid_refine import GRID_BLOCK
from usert.network.grids import at_depths, block_mean, box_mean, box_min
from usert.network.liteflownet import LiteFlowNet
from usert.network.motion import BasebandMotion, OnGrid, at_samples
from usert.network.refine import RefinementKind

STRAIN_WINDOW = 15.8
"""Wavelengths of the least-squares fit: 1.87 mm at 6.5 MHz, with which 0.2 % of strain still shows a lesion."""
QUALITY_WINDOW = (10.6, 5)
"""Wavelengths and lines over which the correlation is formed."""
TRACKED_WINDOW = (4.0, 7)
"""Wavelengths and lines of the window that decides whether a place is tracked: short, so that noise beside strong
echoes shows."""
SMOOTHED = 0.5
"""Wavelengths beyond the window of the strain from which the smoothing carries what is wrong into it."""
LOST, TRACKED = 0.3, 0.6
"""Correlation in the short window at which a place is certainly not, and certainly, tracked."""
QUIET = 1e-7
"""Power, of a mean of 1, below which windows lose their correlation: 70 dB down."""


class BasebandGraph(nn.Module):
    """The graph from reference and current frame to displacement, strain and quality, for the front end `baseband`.

    Shapes: two int16 frames (N, M), or two of IQ (2, N, M), M a multiple of 32, and float32 depths (K,), K a multiple
    of 64 → displacement float32 (2, N, M), strain float32 (N, M), quality float32 (N, M). Errors: `ValueError` for a
    window of 1 wavelength or less.
    """

    front_end: FrontEnd = "baseband"

    def __init__(
        self,
        network: LiteFlowNet,
        *,
        strain_window: float = STRAIN_WINDOW,
        refinement: RefinementKind = "full",
    ) -> None:
        """`strain_window`: wavelengths."""
        super().__init__()
        if not strain_window > 1:
            raise ValueError(f"strain_window: got {strain_window} wavelengths, expected more than 1")
        self.strain_window = strain_window
        self.motion = BasebandMotion(network, refinement)

    def forward(self, reference: Tensor, current: Tensor, depths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first, second = _without_mean(reference, current)
        return self.picture(self.motion(first, second, depths), depths, reference.shape[-2])

    def picture(self, on_grid: OnGrid, depths: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """Displacement, strain and quality on the `rows` samples of the frames."""
        inside = (depths <= rows - 1).to(depths.dtype)
        strain = -self._slope(on_grid.displacement[:, 0:1], inside)
        quality = self._quality(on_grid, inside)

        sample = torch.arange(rows, device=depths.device, dtype=torch.float32)
        row = (sample + 0.5) / (depths[1] - depths[0]) - 0.5
        displacement = at_samples(on_grid.displacement, depths, rows)
        readable = at_depths(quality, (row + 0.5) / GRID_BLOCK - 0.5)
        return displacement[0], at_depths(strain, row)[0, 0], readable[0, 0].clamp(0.0, 1.0)

    def _slope(self, field: Tensor, inside: Tensor) -> Tensor:
        """Least-squares slope of (1, 1, K, M) over the window about each row; near an end, the whole window there.

        Each tile of rows is one product with the rows that its windows reach: `inside` (K,) ends less than a tile
        above the end of the grid (`usert.front_end.grid_rows`).
        """
        reach = math.ceil(self.strain_window * SAMPLES_PER_WAVELENGTH / TILE)  # tiles
        near = _with_neighbours(field[0, 0], reach)  # (tiles, L, M)
        at = torch.arange(inside.shape[0], device=inside.device, dtype=inside.dtype)
        last = inside.sum() - 1
        half = ((last + 1) / 2).clamp_max(self.strain_window * SAMPLES_PER_WAVELENGTH / 2)
        centre = torch.minimum(torch.maximum(at, half - 0.5), last + 0.5 - half).reshape(-1, TILE, 1)
        at, inside = (_with_neighbours(one[:, None], reach).transpose(1, 2) for one in (at, inside))
        weight = (half + 0.5 - (at - centre).abs()).clamp(0.0, 1.0) * inside  # (tiles, TILE, L)
        away = at - (weight * at).sum(dim=2, keepdim=True) / weight.sum(dim=2, keepdim=True)
        moment = weight * away
        slope = torch.matmul(moment / (moment * away).sum(dim=2, keepdim=True), near)
        return slope.reshape(field.shape)

    def _quality(self, on_grid: OnGrid, inside: Tensor) -> Tensor:
        """(1, 1, K / GRID_BLOCK, M): the least correlation within the window of the strain."""
        first, second = on_grid.signals.first, moved(on_grid.signals, on_grid.displacement)
        products = torch.cat(
            (times(first, second, conjugate=True)[:, 0:1], power(first), power(second)), dim=1
        )
        blocks = block_mean(products, GRID_BLOCK)
        block = torch.arange(blocks.shape[2], device=inside.device, dtype=inside.dtype)
        quality = _correlation(blocks, block, *QUALITY_WINDOW)
        tracked = _correlation(blocks, block, *TRACKED_WINDOW)
        trust = ((tracked - LOST) / (TRACKED - LOST)).clamp(0.0, 1.0)
        # the strain of a row reaches so many blocks either way; near an end the window stays whole
        reach = round((self.strain_window / 2 + SMOOTHED) * SAMPLES_PER_WAVELENGTH / GRID_BLOCK)
        least = box_min(torch.minimum(quality, trust), 2 * reach + 1, 1)
        last = torch.floor(inside.sum() / GRID_BLOCK) - 1
        centre = torch.minimum(block.clamp_min(float(reach)), (last - reach).clamp_min(0.0))
        return least.index_select(2, centre.to(torch.int64))


class FollowGraph(nn.Module):
    """The graph for a pair that moves nearly as the image before did: `whole` without its far search and its network.

    Shapes: frames and depths as of `BasebandGraph`, and a float32 `start` (3, 32, 8), as
    `usert.front_end.START_SHAPE` describes it → as `BasebandGraph`.
    """

    front_end: FrontEnd = "baseband"

    def __init__(self, whole: BasebandGraph) -> None:
        super().__init__()
        self.whole = whole

    def forward(
        self, reference: Tensor, current: Tensor, depths: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        first, second = _without_mean(reference, current)
        on_grid = self.whole.motion.near(first, second, depths, start[None])
        return self.whole.picture(on_grid, depths, reference.shape[-2])


def _with_neighbours(rows: Tensor, reach: int) -> Tensor:
    """Of each tile of `rows` (K, M) its rows and those of `reach` tiles either side, 0 outside: (tiles, L, M)."""
    tiles = rows.shape[0] // TILE
    padded = functional.pad(rows, (0, 0, reach * TILE, reach * TILE)).reshape(-1, TILE, rows.shape[1])
    return torch.cat([padded[k : k + tiles] for k in range(2 * reach + 1)], dim=1)


def _without_mean(reference: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
    frames = torch.stack((reference.float(), current.float()))
    frames = frames - frames.mean(dim=(-2, -1), keepdim=True)
    return frames[0:1], frames[1:2]


def _correlation(blocks: Tensor, block: Tensor, length: float, across: int) -> Tensor:
    """(1, 3, R, M) means of products and of both powers → (1, 1, R, M): correlation over wavelengths and lines."""
    blocks = box_mean(blocks, 1, across)
    half = length * SAMPLES_PER_WAVELENGTH / GRID_BLOCK / 2
    window = (half + 0.5 - (block[None, :] - block[:, None]).abs()).clamp(0.0, 1.0)
    sums = torch.matmul(window / (2 * half), blocks)
    return sums[:, 0:1] / torch.sqrt((sums[:, 1:2] * sums[:, 2:3]).clamp_min(QUIET**2))
