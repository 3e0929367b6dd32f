"""Refinement on the grid of the front end `baseband`: all but the last round on half of its rows.

What a round changes is worth more than how exactly it interpolates, so that the first ones run on the network's grid
for half the price; only the last reads the signals at three rows a wavelength, between which an interpolation is good
to one part in a hundred. From the second round on the lateral field is smooth about what the axial one calls for
(`usert.network.incompressible`), and not about nothing.

Knows nothing of the network. Invariant: as `usert.network.refine`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from .baseband import Signals
from .grids import block_mean, interpolated
from .incompressible import called_for
from .phase import Measurement, measure
from .refine import averaged, on_samples, smoothed
from .smoothing import Grid, Smoothing

GRID_BLOCK = 4
"""Rows of the depth grid of one point: one and a third wavelengths."""
ROUNDS, STEPS = 3, 5
"""Rounds, and steps of conjugate gradients in each: more rounds of fewer steps are nearer the truth than two of eight,
in less time."""
STIFFEST = 4.0
"""Factor of the lateral field's λ where all that incompressible tissue calls for is seen, and the frames so bear it
out; a power of κ² of it where they do less. Thirty takes more off the error on the simulated scanners, but on an arm
the frames then agree less (`benchmarks/RESULTS.md`)."""


class GridRefinement(nn.Module):
    """Displacement of a pair made better by its signals.

    Shapes: signals (B, 2, K, M), their `usert.network.baseband.halved`, and a displacement (B, 2, K / 2, M) in rows of
    those → (B, 2, K, M) in rows of the depth grid.
    """

    def __init__(self, kind: Literal["cheap", "full"]) -> None:
        super().__init__()
        if kind not in ("cheap", "full"):
            raise ValueError(f"kind: got {kind!r}, expected cheap or full")
        self.kind = kind
        self.smoothing = Smoothing(STEPS)

    def forward(self, signals: Signals, half: Signals, displacement: Tensor) -> Tensor:
        block = GRID_BLOCK // 2
        if self.kind == "cheap":
            fine = doubled(displacement)
            return fine + averaged(measure(signals, fine, GRID_BLOCK), fine, GRID_BLOCK)
        points = block_mean(displacement, block)
        grid = Grid(points[:, :1])
        for done in range(ROUNDS - 1):
            measurement = measure(half, displacement, block)
            if done == 0:
                points = smoothed(self.smoothing, grid, measurement, points, block, again=False)
            else:
                points = self._again(grid, measurement, points, block)
            displacement = on_samples(points, block)
        points = _in_finer_rows(points)
        measurement = measure(signals, on_samples(points, GRID_BLOCK), GRID_BLOCK)
        return on_samples(self._again(grid, measurement, points, GRID_BLOCK), GRID_BLOCK)

    def _again(self, grid: Grid, measurement: Measurement, points: Tensor, block: int) -> Tensor:
        """(B, 2, K, M): smooth, the lateral field about what `points`, the answer of the round before, call for."""
        about, share = called_for(points, measurement.weight[:, 1:], block)
        stiffer = torch.exp(math.log(STIFFEST) * share.square())
        about = torch.cat((torch.zeros_like(about), about), dim=1)
        rest = Measurement(measurement.displacement - about, measurement.weight)
        found = smoothed(self.smoothing, grid, rest, points - about, block, again=True, stiffer=stiffer)
        return found + about


def doubled(displacement: Tensor) -> Tensor:
    """A displacement on the network's grid (B, 2, H, M) on the depth grid, (B, 2, 2 H, M), in its rows."""
    longer = torch.nn.functional.pad(displacement, (0, 0, 1, 1), mode="replicate")
    return _in_finer_rows(interpolated(longer, 2, 2))


def _in_finer_rows(displacement: Tensor) -> Tensor:
    return torch.cat((2 * displacement[:, :1], displacement[:, 1:]), dim=1)
