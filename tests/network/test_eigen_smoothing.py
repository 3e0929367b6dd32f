"""The coarse map's solver against the exact solution of the same problem."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from usert.network.eigen_smoothing import EigenSmoothing, penalty_matrix
from usert.network.smoothing import Grid, Roughness, Smoothing

ROWS, COLUMNS = 32, 8
COST = torch.tensor([[0.3], [3.0]])


def solved(measured: torch.Tensor, weight: torch.Tensor) -> NDArray[np.float64]:
    """The solution by Gaussian elimination in float64."""
    penalty = penalty_matrix(ROWS, COLUMNS)
    answers = [
        np.linalg.solve(np.diag(w) + cost * penalty, w * m)
        for m, w, cost in zip(
            measured.flatten(1).double().numpy(),
            weight.flatten(1).double().numpy(),
            COST[:, 0].tolist(),
            strict=True,
        )
    ]
    return np.stack(answers).reshape(measured.shape)


def problem(fading: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A measured field with noise, and weights that fall along depth by so many decades."""
    torch.manual_seed(0)
    row = torch.arange(ROWS, dtype=torch.float32)[:, None]
    measured = 0.4 * row + torch.randn(2, 1, ROWS, COLUMNS)
    weight = (0.2 + torch.rand(2, 1, ROWS, COLUMNS)) * 10 ** (-fading * row / ROWS)
    return measured, weight


def on_the_grid(measured: torch.Tensor, weight: torch.Tensor, steps: int) -> torch.Tensor:
    """The answer of the solver for any grid, from the mean of what is measured."""
    grid, smoothing = Grid(measured), Smoothing(steps)
    cost = COST[:, :, None, None]
    penalty = smoothing.penalty(grid, Roughness(along=cost, mixed=cost, across=cost))
    mean = (weight * measured).sum(dim=(2, 3), keepdim=True) / weight.sum(dim=(2, 3), keepdim=True)
    found: torch.Tensor = smoothing(grid, measured, weight, penalty, mean.expand_as(measured))
    return found


def test_of_weights_that_span_a_decade_twelve_steps_come_near_the_exact_solution() -> None:
    """Over two decades the levelled steps on the grid come nearer."""
    measured, weight = problem(1.0)
    found = EigenSmoothing(ROWS, COLUMNS, 12)(measured, weight, COST)
    assert np.abs(found.numpy() - solved(measured, weight)).max() < 5e-3


def test_of_weights_that_are_alike_twelve_steps_find_the_exact_solution() -> None:
    measured, weight = problem(0.0)
    found = EigenSmoothing(ROWS, COLUMNS, 12)(measured, weight, COST)
    assert np.abs(found.numpy() - solved(measured, weight)).max() < 1e-4


def test_the_problem_is_that_of_the_solver_for_any_grid() -> None:
    measured, weight = problem(1.0)
    found = EigenSmoothing(ROWS, COLUMNS, 30)(measured, weight, COST)
    assert torch.allclose(found, on_the_grid(measured, weight, 60), atol=1e-4)


def test_a_field_of_one_value_stays() -> None:
    measured, weight = problem(4.0)
    same = torch.full_like(measured, 7.5)
    assert torch.allclose(EigenSmoothing(ROWS, COLUMNS, 12)(same, weight, COST), same, atol=1e-5)


def test_a_grid_of_two_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="2 x 8"):
        EigenSmoothing(2, 8, 12)
