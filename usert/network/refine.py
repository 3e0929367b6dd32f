"""The refinement of a displacement to hundredths of a sample, by measured phase and smoothness.

It starts from the network's displacement, which is right to a fraction of a wavelength. Two kinds:

- `cheap`: the missing axial displacement is measured once from the phase, averaged, and added.
- `full`: measured and made smooth over the whole frame, twice, axial and lateral at once. The second time the
  frames are moved by the first result, in which the borders of inclusions show.

How smooth follows from the strain: what a change of strain costs falls with the strain of the pair, so that a press of
3 % keeps its detail and one of .2 % shows at all. The parameters were chosen on the simulated scanner at .5 to 5 % of
strain, and change little within a factor of two (`benchmarks/RESULTS.md`). They count points of the grid and lines: the
grid of the front end `baseband` (`usert.network.grid_refine`) has one point in one and a third wavelengths, whatever
the sampling; that of `rf` one in eight samples.

Knows the signals of a pair; nothing of the network. Invariant: the result is a displacement of the same shape and sign
as the one it started from, finite where that one was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ..errors import OptionError
from ..front_end import FrontEnd
from .baseband import Signals
from .grids import block_mean, box_mean, interpolated
from .phase import BLOCK, Measurement, measure
from .smoothing import Grid, Roughness, Smoothing

RefinementKind = Literal["off", "cheap", "full"]
ENOUGH: dict[FrontEnd, int] = {"rf": 3, "baseband": 4}
"""Finest level of the network that full refinement needs."""
ROUNDS = 2
STEPS = 8
"""Steps of conjugate gradients a round: within a thousandth of a sample of the exact solution."""
AXIAL = (8000.0, 8000.0, 2000.0)
"""λ_rr, λ_rc, λ_cc of axial displacement at 1 % of strain."""
FALL = 1.5
"""Power of the strain with which the axial λ fall."""
LATERAL = (1e4, 1e3, 1e2)
"""The λ of lateral displacement, at any strain."""
BORDER = 0.0125
"""Change of axial strain from one point of the grid to the next, over the strain of the pair, that is taken for a
border."""
BORDERS_FROM = 4.5e-3
"""Strain of a pair below which changes of strain are no smaller when they are taken for a border: they are noise. With
.6 % the simulated scanners have up to 5 % more error at .2 to .4 %; with .3 % an arm at rest shows a tenth to a
quarter more deviation of strain (`benchmarks/RESULTS.md`)."""
LEAST_STRAIN = 3e-4
"""Strain taken for that of a pair that hardly moves."""
SPAN = 9
"""Points of the grid over which strain is formed for the choice of λ."""
AVERAGED = (9, 5)
"""Points and lines of the grid over which the phase is averaged by `cheap`."""


class Refinement(nn.Module):
    """Refinement of a displacement at the scanner's sampling by the signals of the pair.

    Shapes: signals and displacement (B, 2, N, M), axial in rows of the signals, N a multiple of 8 → (B, 2, N, M).
    Errors: `ValueError` for an unknown kind, no rounds or other shapes.
    """

    def __init__(self, kind: Literal["cheap", "full"], *, rounds: int = ROUNDS, steps: int = STEPS) -> None:
        super().__init__()
        if kind not in ("cheap", "full"):
            raise ValueError(f"kind: got {kind!r}, expected cheap or full")
        if rounds < 1:
            raise ValueError(f"rounds: got {rounds}, expected at least 1")
        self.kind: RefinementKind = kind
        self.rounds = rounds
        self.smoothing = Smoothing(steps)

    def forward(self, signals: Signals, displacement: Tensor) -> Tensor:
        if displacement.shape[2] % BLOCK or displacement.shape != signals.first.shape:
            raise ValueError(
                f"got signals {tuple(signals.first.shape)} and displacement {tuple(displacement.shape)}, expected "
                f"one shape (B, 2, N, M) with N a multiple of {BLOCK}"
            )
        displacement = displacement.float()
        if self.kind == "cheap":
            return displacement + averaged(measure(signals, displacement, BLOCK), displacement, BLOCK)
        earlier: Tensor | None = None
        grid = Grid(block_mean(displacement[:, :1], BLOCK))
        for _ in range(self.rounds):
            measurement = measure(signals, displacement, BLOCK)
            start = block_mean(displacement, BLOCK) if earlier is None else earlier
            strain = strain_of(measurement, BLOCK)
            again = earlier is not None
            earlier = smoothed(self.smoothing, grid, measurement, start, strain, BLOCK, again=again)
            displacement = on_samples(earlier, BLOCK)
        return displacement


def smoothed(
    smoothing: Smoothing,
    grid: Grid,
    measurement: Measurement,
    start: Tensor,
    strain: Tensor,
    block: int,
    *,
    again: bool,
    firmer: Sequence[Tensor | float] = (1.0, 1.0, 1.0),
    stiffer: Tensor | None = None,
    coarser: tuple[int, int] = (1, 1),
) -> Tensor:
    """The smooth displacement (B, 2, K, M) that agrees with a measurement, both fields solved side by side as a batch.

    `start` is what the solution begins at, and when it is looked for `again`, where the borders of inclusions are taken
    from. `strain` (B, 1, 1, 1) is that of the pair (`strain_of`). `firmer` are factors of the axial field's λ_rr, λ_rc
    and λ_cc, `stiffer` (B, 1, 1, 1) is one of all of the lateral field's. The λ are those of a grid whose points are
    `block` rows and a line; one point here is the mean of `coarser` of those, so that a second difference is so many
    times as large, for the same field.
    """
    down, over = coarser
    fall = (strain / 0.01) ** -FALL
    steady = torch.ones_like(fall)
    aside = steady if stiffer is None else stiffer
    larger = (down * down, down * over, over * over)
    along, mixed, across = (
        torch.cat((axial * firm * fall, lateral * aside)) * size**-2
        for axial, lateral, firm, size in zip(AXIAL, LATERAL, firmer, larger, strict=True)
    )
    # no borders in the lateral field
    border = BORDER * block * down * over
    scale = torch.cat((border * strain.clamp_min(BORDERS_FROM), 1e6 * steady))
    roughness = Roughness(along=along, mixed=mixed, across=across, scale=scale)
    measured, weight, begin = (
        torch.cat(field.chunk(2, dim=1)) for field in (measurement.displacement, measurement.weight, start)
    )
    penalty = smoothing.penalty(grid, roughness, begin if again else None)
    return torch.cat(smoothing(grid, measured, weight, penalty, begin).chunk(2), dim=1)


def finest_before(kind: RefinementKind, front_end: FrontEnd, finest: int) -> int:
    """The level at which an export stops, of weights down to `finest`; full refinement makes up for a coarser one."""
    return max(ENOUGH[front_end], finest) if kind == "full" else finest


def as_kind(text: str, what: str) -> RefinementKind:
    """Check that `text` names a kind of refinement. Errors: `OptionError` that begins with `what`."""
    if text not in get_args(RefinementKind):
        raise OptionError(f"{what}: got {text!r}, expected {', '.join(get_args(RefinementKind))}")
    return cast(RefinementKind, text)


def strain_of(measurement: Measurement, block: int) -> Tensor:
    """Root mean square (B, 1, 1, 1) of the axial strain over `SPAN` points and lines, by the weights; never 0."""
    weight = measurement.weight[:, 0:1]
    sums = box_mean(torch.cat((weight * measurement.displacement[:, 0:1], weight), dim=1), SPAN, SPAN)
    mean = sums[:, 0:1] / sums[:, 1:2]
    slope = (mean[:, :, 1:] - mean[:, :, :-1]) / block
    share = weight[:, :, 1:] / weight[:, :, 1:].sum(dim=(2, 3), keepdim=True)
    power = (share * slope.square()).sum(dim=(2, 3), keepdim=True)
    return torch.sqrt(power + LEAST_STRAIN**2)


def on_samples(field: Tensor, block: int) -> Tensor:
    """Interpolate a field (B, C, K, M) of the grid to (B, C, K · block, M), linear, beyond the outermost points too."""
    top, bottom = 2 * field[:, :, :1] - field[:, :, 1:2], 2 * field[:, :, -1:] - field[:, :, -2:-1]
    longer = torch.cat((top, field, bottom), dim=2)
    return interpolated(longer, block, 2)


def averaged(measurement: Measurement, displacement: Tensor, block: int) -> Tensor:
    """Correction (B, 2, N, M) of `displacement`: the missing axial part in samples, averaged by weight, and 0."""
    weight = measurement.weight[:, 0:1]
    missing = measurement.displacement[:, 0:1] - block_mean(displacement[:, 0:1], block)
    sums = box_mean(torch.cat((weight * missing, weight), dim=1), *AVERAGED)
    return functional.pad(on_samples(sums[:, 0:1] / sums[:, 1:2], block), (0, 0, 0, 0, 0, 1))
