"""From two frames to their displacement, the whole way: front end, network, refinement.

Two front ends (`usert.front_end`), each a module of its own, for training's acceptance, evaluation and the exported
graph alike:

    RfMotion         channels at the scanner's sampling ▸ network ▸ refinement
    BasebandMotion   complex envelope on the depth grid ▸ coarse displacement ▸ the frame moved by it ▸ network ▸
                     the likelier of both at its likeliest lag ▸ refinement

Knows nothing of strain, quality or files. Invariant: displacement is that of the frames as they came in, whatever was
done to them on the way.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ..front_end import depth_grid, grid_rows
from .baseband import Signals, baseband
from .channels import Channels
from .coarse import CoarseDisplacement
from .companding import companded_channels, composed
from .grids import at_depths, block_mean, interpolated
from .lags import likeliest
from .liteflownet import MULTIPLE, LiteFlowNet, full_precision
from .phase import from_channels
from .refine import Refinement, RefinementKind

ROUNDS, STEPS = 3, 5
"""Of the refinement on the grid, and of conjugate gradients a round: more rounds of fewer steps are nearer the truth
than two of eight, in less time."""
GRID_BLOCK = 4
"""Rows of the depth grid of one point that the phase is measured at: one and a third wavelengths."""


class RfMotion(nn.Module):
    """Displacement at the scanner's sampling.

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
    """Displacement on the depth grid.

    Shapes: two RF frames (B, N, M) or IQ frames (B, 2, N, M), M a multiple of 32, and depths (K,), K a multiple of 64.
    """

    def __init__(self, network: LiteFlowNet, refinement: RefinementKind) -> None:
        super().__init__()
        self.coarse = CoarseDisplacement()
        self.network = network
        self.refinement = (
            None
            if refinement == "off"
            else Refinement(refinement, block=GRID_BLOCK, rounds=ROUNDS, steps=STEPS)
        )

    def forward(self, first: Tensor, second: Tensor, depths: Tensor) -> OnGrid:
        signals, coarse = self._coarse(first, second, depths)
        displacement = self._found(signals, coarse)
        if self.refinement is not None:
            displacement = self.refinement(signals, likeliest(signals, (displacement, coarse)))
        return OnGrid(signals, displacement)

    def unrefined(self, first: Tensor, second: Tensor, depths: Tensor) -> OnGrid:
        """What the network finds; gradients reach its weights alone."""
        signals, coarse = self._coarse(first, second, depths)
        return OnGrid(signals, self._found(signals, coarse))

    def _coarse(self, first: Tensor, second: Tensor, depths: Tensor) -> tuple[Signals, Tensor]:
        with full_precision(first):
            signals = baseband(first, second, depths)
            if signals.first.shape[3] % MULTIPLE:
                raise ValueError(f"got {tuple(first.shape)}, expected lines in a multiple of {MULTIPLE}")
            return signals, doubled(self.coarse(block_mean(signals.first, 2), block_mean(signals.second, 2)))

    def _found(self, signals: Signals, coarse: Tensor) -> Tensor:
        with full_precision(coarse):
            seen = companded_channels(signals, coarse)
        return composed(coarse, doubled(self.network(*seen)))


class Motion(nn.Module):
    """Displacement between two RF frames as a recording has them, whatever the front end.

    Shapes: two (B, N, M) of any real dtype → (B, 2, N, M): axial in samples, lateral in lines.
    """

    def __init__(self, network: LiteFlowNet, refinement: RefinementKind) -> None:
        super().__init__()
        on_grid = network.front_end == "baseband"
        self.way = BasebandMotion(network, refinement) if on_grid else RfMotion(network, refinement)

    def forward(self, first: Tensor, second: Tensor, cycles_per_sample: float) -> Tensor:
        """`cycles_per_sample`: centre over sampling frequency. Errors: `FrameError` for one that cannot be."""
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
    """A displacement on the grid of `depths` (K,), (B, 2, K, M), as one at the scanner's sampling, (B, 2, rows, M)."""
    spacing = depths[1] - depths[0]
    sample = torch.arange(rows, device=depths.device, dtype=torch.float32)
    found = at_depths(displacement, (sample + 0.5) / spacing - 0.5)
    return torch.cat((found[:, 0:1] * spacing, found[:, 1:2]), dim=1)


def doubled(displacement: Tensor) -> Tensor:
    """A displacement on the network's grid (B, 2, H, M) on the depth grid, (B, 2, 2 H, M), in its rows."""
    longer = functional.pad(displacement, (0, 0, 1, 1), mode="replicate")
    finer = interpolated(longer, 2, 2)
    return torch.cat((2 * finer[:, :1], finer[:, 1:]), dim=1)
