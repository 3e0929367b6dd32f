"""Refinement on the depth grid: its rounds end near the solution, on coarser points as on the grid itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from grid_pair import GridPair, grid_pair
from torch import Tensor

from usert.network import grid_refine
from usert.network.baseband import Signals, halved
from usert.network.grid_refine import GridRefinement
from usert.network.phase import Measurement
from usert.network.refine import smoothed
from usert.network.smoothing import Grid, Smoothing
from usert.phantom.field import Uniform


@pytest.fixture(scope="module")
def pair() -> GridPair:
    return grid_pair(strain=0.02)


def half_truth(pair: GridPair) -> Tensor:
    """(1, 2, K / 2, M), axial in rows of the network's grid."""
    mean = pair.truth.unflatten(2, (-1, 2)).mean(3)
    return torch.cat((mean[:, :1] / 2, mean[:, 1:]), dim=1)


def rough(start: Tensor, size: float, seed: int) -> Tensor:
    noise = torch.randn(1, 2, 12, 8, generator=torch.Generator().manual_seed(seed))
    return start + size * functional.interpolate(noise, size=start.shape[2:], mode="bilinear")


def test_a_rough_start_is_brought_to_the_truth(pair: GridPair) -> None:
    signals = pair.signals
    start = rough(half_truth(pair), 0.15, 1)
    found = GridRefinement("full")(signals, halved(signals), start)
    axial, lateral = pair.apart(found).square().mean(dim=(1, 2)).sqrt()
    assert float(axial) < 0.02
    assert float(lateral) < 0.06


def masked(signals: Signals) -> Signals:
    """The lower right quarter without echoes, as a sector scan leaves it."""
    rows, lines = signals.first.shape[2:]
    mask = torch.ones(rows, lines)
    mask[rows // 2 :, lines // 2 :] = 0
    return signals._replace(first=signals.first * mask, second=signals.second * mask)


def test_beside_a_masked_corner_few_steps_end_near_the_solution(
    pair: GridPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights fall to nothing there, and the start is the further off the deeper."""
    signals = masked(pair.signals)
    start = half_truth(pair)
    rows, lines = start.shape[2:]
    depth = torch.arange(rows)[:, None] / rows
    start = start + torch.cat((0.5 * torch.sin(9 * depth) * depth, 0.5 * depth)).reshape(1, 2, rows, 1)

    def found() -> Tensor:
        return GridRefinement("full")(signals, halved(signals), start)[0, :, : pair.rows]

    few = found()
    monkeypatch.setattr(grid_refine, "ROUNDS", tuple((20 * steps, by) for steps, by in grid_refine.ROUNDS))
    apart = (few - found()).abs()
    apart[:, rows - 24 :, lines // 2 - 8 :] = 0  # within the mask, which the smoothing reaches out of
    assert float(apart[0].max()) < 0.004
    assert float(apart[1].max()) < 0.01


def test_lines_without_echoes_are_carried_on_from_those_beside_them() -> None:
    """Uniform strain is linear where nothing can be measured, too; there the start is off by half a wavelength or so.

    Few steps on the coarsest points leave such lines as they started, .2 rows rms off.
    """
    pair = grid_pair(strain=0.01, unit_field=Uniform(strain=1.0))
    gone = torch.ones(pair.signals.first.shape[3])
    gone[:24] = 0
    signals = pair.signals._replace(second=pair.signals.second * gone)
    start = half_truth(pair)
    start[:, :, :, :28] += 0.4
    found = GridRefinement("full")(signals, halved(signals), start)
    error = (found - pair.truth)[0, 0, 16 : pair.rows - 16]
    assert float(error.square().mean().sqrt()) < 0.02


@pytest.mark.parametrize("coarser", [2, 4])
def test_coarser_points_give_the_same_smooth_field(coarser: int) -> None:
    """A field smoother than the points are apart: solved on them it is that of the grid, taken together."""
    row, line = torch.arange(64.0)[:, None], torch.arange(64.0)[None, :]
    field = torch.sin(row / 14) * torch.cos(line / 17)
    both = torch.stack((field, 2 * field))[None]
    noise = 0.2 * torch.randn(both.shape, generator=torch.Generator().manual_seed(0))
    weight, strain = torch.full_like(both, 10.0), torch.full((1, 1, 1, 1), 0.02)

    def solved(measured: Tensor, weights: Tensor, points: int) -> Tensor:
        start = torch.zeros_like(measured)
        return smoothed(
            Smoothing(60),
            Grid(start[:, :1]),
            Measurement(measured, weights),
            start,
            strain,
            2,
            again=True,
            coarser=(points, points),
        )

    def together(image: Tensor) -> Tensor:
        return image.unflatten(3, (-1, coarser)).mean(4).unflatten(2, (-1, coarser)).mean(3)

    fine = together(solved(both + noise, weight, 1))
    coarse = solved(together(both + noise), together(weight), coarser)
    size = float((fine - together(both)).square().mean().sqrt())
    assert float((coarse - fine).square().mean().sqrt()) < max(size, 0.02)
