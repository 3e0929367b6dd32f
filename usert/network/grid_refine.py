"""Refinement on the grid of the front end `baseband`: all but the last round on half of its rows.

What a round changes is worth more than how exactly it interpolates, so that the first ones run on the network's grid
for half the price; only the last reads the signals at three rows a wavelength, between which an interpolation is good
to one part in a hundred. For the same reason their smooth fields are found on coarser points, where a step of the
solution costs a sixteenth or a quarter, and enough of them can be made: where weights fall to a hundredth of their
mean, as at the end of a frame or beside masked lines, five steps end far from the solution (wavelengths were lost
there, and a small change of the start decided how). From the second round on the lateral field is smooth about what the
axial one calls for (`usert.network.incompressible`), and not about nothing.

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
from .refine import averaged, on_samples, smoothed, strain_of
from .smoothing import Grid, Smoothing

GRID_BLOCK = 4
"""Rows of the depth grid of one point: one and a third wavelengths."""
ROUNDS = ((14, 4), (6, 2), (6, 2), (7, 1))
"""Of each round: steps of conjugate gradients, and how many points of the grid, along depth and across lines, are taken
together. The many of the first round are for lines without echoes, the last one's seventh is for the corner of a mask;
on presses fewer are as good (`benchmarks/RESULTS.md`, "the refinement levelled")."""
MIXED, PRESSED = 1.8, 0.02
"""Factor of the axial field's λ_rc in a pair that hardly moves, and the strain of a pair at which half of it is left;
it falls with the square. How strain changes from line to line is noise in a pair of little strain, and in a hard press
the tissue."""
ACROSS = 1.2
"""Factor of its λ_cc."""
STIFFEST = 4.0
"""Factor of the lateral field's λ where all that incompressible tissue calls for is seen, and the frames so bear it
out; a power of κ² of it where they do less. Thirty takes more off the error on the simulated scanners, but on an arm
the frames then agree less (`benchmarks/RESULTS.md`)."""


class GridRefinement(nn.Module):
    """Refinement of a displacement on the depth grid by the signals of the pair.

    Shapes: signals (B, 2, K, M), their `usert.network.baseband.halved`, and a displacement (B, 2, K / 2, M) in rows of
    those → (B, 2, K, M) in rows of the depth grid.
    """

    def __init__(self, kind: Literal["cheap", "full"]) -> None:
        super().__init__()
        if kind not in ("cheap", "full"):
            raise ValueError(f"kind: got {kind!r}, expected cheap or full")
        self.kind = kind
        self.smoothing = nn.ModuleList(Smoothing(steps) for steps, _ in ROUNDS)

    def forward(self, signals: Signals, half: Signals, displacement: Tensor) -> Tensor:
        block = GRID_BLOCK // 2
        if self.kind == "cheap":
            fine = doubled(displacement)
            return fine + averaged(measure(signals, fine, GRID_BLOCK), fine, GRID_BLOCK)
        grids: dict[int, Grid] = {}
        points = block_mean(displacement, block)
        for done, (_, coarser) in enumerate(ROUNDS):
            if done == len(ROUNDS) - 1:
                half, points, block = signals, _in_finer_rows(points), GRID_BLOCK
            if done:
                displacement = on_samples(points, block)
            measurement = measure(half, displacement, block)
            strain = strain_of(measurement, block)
            start = block_mean(points, coarser, coarser)
            if coarser not in grids:
                grids[coarser] = Grid(start[:, :1])
            points = self._round(done, grids[coarser], _together(measurement, coarser), start, strain, block)
            points = _apart(points, coarser)
        return on_samples(points, block)

    def _round(
        self, done: int, grid: Grid, measurement: Measurement, start: Tensor, strain: Tensor, block: int
    ) -> Tensor:
        """(B, 2, K, M): smooth; but for the first round the lateral field about what `start`, the answer of the one
        before, calls for."""
        smoothing, coarser = self.smoothing[done], ROUNDS[done][1]
        assert isinstance(smoothing, Smoothing)
        each = coarser, coarser
        firmer = (1.0, MIXED / (1 + (strain / PRESSED).square()), ACROSS)
        if done == 0:
            return smoothed(
                smoothing, grid, measurement, start, strain, block, again=False, firmer=firmer, coarser=each
            )
        about, share = called_for(start, measurement.weight[:, 1:], coarser * block, coarser)
        stiffer = torch.exp(math.log(STIFFEST) * share.square())
        about = torch.cat((torch.zeros_like(about), about), dim=1)
        found = smoothed(
            smoothing,
            grid,
            Measurement(measurement.displacement - about, measurement.weight),
            start - about,
            strain,
            block,
            again=True,
            firmer=firmer,
            stiffer=stiffer,
            coarser=each,
        )
        return found + about


def _together(measurement: Measurement, coarser: int) -> Measurement:
    """The measurement of `coarser` × `coarser` points as one: their mean by weight, and their mean weight."""
    if coarser == 1:
        return measurement
    weight = block_mean(measurement.weight, coarser, coarser)
    product = block_mean(measurement.weight * measurement.displacement, coarser, coarser)
    return Measurement(product / weight, weight)


def _apart(field: Tensor, coarser: int) -> Tensor:
    """(B, C, K, M) → (B, C, K · coarser, M · coarser), linear between points and beyond the outermost."""
    if coarser == 1:
        return field
    first, last = 2 * field[..., :1] - field[..., 1:2], 2 * field[..., -1:] - field[..., -2:-1]
    return on_samples(interpolated(torch.cat((first, field, last), dim=3), coarser, 3), coarser)


def doubled(displacement: Tensor) -> Tensor:
    """Displacement (B, 2, 2 H, M) on the depth grid, in its rows, from one (B, 2, H, M) on the network's grid."""
    longer = torch.nn.functional.pad(displacement, (0, 0, 1, 1), mode="replicate")
    return _in_finer_rows(interpolated(longer, 2, 2))


def _in_finer_rows(displacement: Tensor) -> Tensor:
    return torch.cat((2 * displacement[:, :1], displacement[:, 1:]), dim=1)
