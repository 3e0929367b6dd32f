"""The displacement between two frames: front end, network and refinement in one.

Two front ends (`usert.front_end`), each a module of its own, for training's acceptance, evaluation and the exported
graph alike:

    RfMotion         channels at the scanner's sampling ▸ network ▸ refinement
    BasebandMotion   complex envelope on the depth grid ▸ coarse displacement ▸ the frame moved by it ▸ network ▸
                     the likelier of both at its likeliest lag ▸ refinement, all but its last round on half of the rows

Knows nothing of strain, quality or files. Invariant: the displacement is that of the original frames.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ..front_end import SAMPLES_PER_WAVELENGTH, depth_grid, grid_rows
from .baseband import Signals, baseband, halved
from .channels import Channels
from .coarse import CoarseDisplacement
from .companding import companded_channels, composed, moved
from .grid_refine import GridRefinement, doubled
from .grids import at_depths
from .lags import likeliest
from .liteflownet import MULTIPLE, LiteFlowNet, full_precision
from .phase import from_channels
from .refine import Refinement, RefinementKind


class RfMotion(nn.Module):
    """Displacement at the scanner's sampling, by the front end `rf`.

    Shapes: two (B, N, M), sides multiples of 32 → (B, 2, N, M): axial in samples, lateral in lines.
    """

    def __init__(self, network: LiteFlowNet, refinement: RefinementKind) -> None:
        super().__init__()
        self.channels = Channels()
        self.network = network
        self.refinement = None if refinement == "off" else Refinement(refinement)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        a, b = self.channels(first, second)
        displacement: Tensor = self.network(a, b)
        if self.refinement is not None:
            displacement = self.refinement(from_channels(a, b), displacement)
        return displacement


class OnGrid(NamedTuple):
    """A pair on the depth grid of `usert.front_end`."""

    signals: Signals
    displacement: Tensor
    """(B, 2, K, M): axial in rows of the grid, lateral in lines."""


class BasebandMotion(nn.Module):
    """Displacement on the depth grid, by the front end `baseband`.

    Shapes: two RF frames (B, N, M) or IQ frames (B, 2, N, M), M a multiple of 32, and depths (K,), K a multiple of 64 →
    `OnGrid`.
    """

    def __init__(self, network: LiteFlowNet, refinement: RefinementKind) -> None:
        super().__init__()
        self.coarse = CoarseDisplacement()
        self.network = network
        self.refinement = None if refinement == "off" else GridRefinement(refinement)

    def forward(self, first: Tensor, second: Tensor, depths: Tensor) -> OnGrid:
        if self.refinement is None:
            return self.unrefined(first, second, depths)
        signals, half = self._signals(first, second, depths)
        found, coarse, back = self._found(half)
        start = likeliest(half.first, ((found, moved(half, found)), (coarse, back)))
        return OnGrid(signals, self.refinement(signals, half, start))

    def near(self, first: Tensor, second: Tensor, depths: Tensor, start: Tensor) -> OnGrid:
        """The displacement near one that is known, without network and far search, of frames as for `forward`.

        `start` (B, 3, 32, 8) is what is known, as `usert.front_end.START_SHAPE` describes it. Errors: `ValueError`
        without refinement, which must find the rest.
        """
        if self.refinement is None:
            raise ValueError("refinement: got off, expected cheap or full: a start alone is no displacement")
        signals, half = self._signals(first, second, depths)
        with full_precision(half.first):
            rows = start[:, :1] * (SAMPLES_PER_WAVELENGTH / 2)
            found = self.coarse.near(half.first, half.second, torch.cat((rows, start[:, 1:]), dim=1))
        likely = likeliest(half.first, ((found, moved(half, found)),))
        return OnGrid(signals, self.refinement(signals, half, likely))

    def unrefined(self, first: Tensor, second: Tensor, depths: Tensor) -> OnGrid:
        """The network's displacement, without refinement; gradients reach the network's weights alone."""
        signals, half = self._signals(first, second, depths)
        return OnGrid(signals, doubled(self._found(half)[0]))

    def _signals(self, first: Tensor, second: Tensor, depths: Tensor) -> tuple[Signals, Signals]:
        """The pair on the depth grid, and on half of its rows."""
        with full_precision(first):
            signals = baseband(first, second, depths)
            if signals.first.shape[3] % MULTIPLE:
                raise ValueError(f"got {tuple(first.shape)}, expected lines in a multiple of {MULTIPLE}")
            return signals, halved(signals)

    def _found(self, half: Signals) -> tuple[Tensor, Tensor, Tensor]:
        """What the network finds, the coarse displacement that it started from, and the second frame moved by that."""
        with full_precision(half.first):
            coarse = self.coarse(half.first, half.second)
            back = moved(half, coarse)
            seen = companded_channels(half, back, coarse)
        return composed(coarse, self.network(*seen)), coarse, back


class Motion(nn.Module):
    """Displacement between two RF frames as a recording has them, whatever the front end.

    Shapes: two (B, N, M) of any real dtype → (B, 2, N, M): axial in samples, lateral in lines.
    """

    def __init__(self, network: LiteFlowNet, refinement: RefinementKind) -> None:
        super().__init__()
        on_grid = network.front_end == "baseband"
        self.way = BasebandMotion(network, refinement) if on_grid else RfMotion(network, refinement)

    def forward(self, first: Tensor, second: Tensor, cycles_per_sample: float) -> Tensor:
        """Displacement of the pair; `cycles_per_sample` is f0 over fs. Errors: `FrameError` for an impossible one."""
        rows, lines = first.shape[1:]
        frames = torch.stack((first, second)).float()
        frames = frames - frames.mean(dim=(2, 3), keepdim=True)
        if isinstance(self.way, RfMotion):
            a, b = functional.pad(frames, (0, -lines % MULTIPLE, 0, -rows % MULTIPLE))
            displacement: Tensor = self.way(a, b)
        else:
            a, b = functional.pad(frames, (0, -lines % MULTIPLE))
            grid = depth_grid(grid_rows(rows, cycles_per_sample), cycles_per_sample)
            depths = torch.from_numpy(grid).to(first.device)
            displacement = at_samples(self.way(a, b, depths).displacement, depths, rows)
        return displacement[:, :, :rows, :lines]


def at_samples(displacement: Tensor, depths: Tensor, rows: int) -> Tensor:
    """Displacement (B, 2, rows, M) at the scanner's sampling from one (B, 2, K, M) on the grid of `depths` (K,)."""
    spacing = depths[1] - depths[0]
    sample = torch.arange(rows, device=depths.device, dtype=torch.float32)
    found = at_depths(displacement, (sample + 0.5) / spacing - 0.5)
    return torch.cat((found[:, 0:1] * spacing, found[:, 1:2]), dim=1)
