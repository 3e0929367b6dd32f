"""The smooth field is the solution of the least-squares problem it claims to solve."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from usert.network.smoothing import Grid, Roughness, Smoothing

K, M = 12, 9


def one(value: float) -> Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


ROUGH = Roughness(along=one(30.0), mixed=one(20.0), across=one(5.0), scale=one(0.05))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def brute_force(measured: Tensor, weight: Tensor, earlier: Tensor | None) -> NDArray[np.float64]:
    """The normal equations of one field (K, M), written down difference by difference."""
    rows, lines = measured.shape
    index = np.arange(rows * lines).reshape(rows, lines)
    matrix = np.diag(weight.numpy().ravel())

    def add(strength: float, terms: list[tuple[int, float]]) -> None:
        row = np.zeros(rows * lines)
        for at, factor in terms:
            row[at] = factor
        if earlier is not None:
            change = row @ earlier.numpy().ravel()
            strength /= np.sqrt(1 + (change / 0.05) ** 2)
        matrix[:] += strength * np.outer(row, row)

    for r in range(rows):
        for c in range(lines):
            if 0 < r < rows - 1:
                add(30.0, [(index[r - 1, c], 1), (index[r, c], -2), (index[r + 1, c], 1)])
            if 0 < c < lines - 1:
                add(5.0, [(index[r, c - 1], 1), (index[r, c], -2), (index[r, c + 1], 1)])
            if r < rows - 1 and c < lines - 1:
                add(
                    20.0,
                    [
                        (index[r, c], 1),
                        (index[r, c + 1], -1),
                        (index[r + 1, c], -1),
                        (index[r + 1, c + 1], 1),
                    ],
                )
    solution: NDArray[np.float64] = np.linalg.solve(matrix, (weight * measured).numpy().ravel())
    return solution.reshape(rows, lines)


def solved(measured: Tensor, weight: Tensor, *, earlier: Tensor | None = None, steps: int = 60) -> Tensor:
    smoothing = Smoothing(steps).double()
    grid = Grid(measured)
    penalty = smoothing.penalty(grid, ROUGH, earlier)
    answer: Tensor = smoothing(grid, measured, weight, penalty, torch.zeros_like(measured))
    return answer


@pytest.mark.parametrize("borders", [False, True])
def test_solution_is_that_of_the_normal_equations(borders: bool) -> None:
    measured, weight = random(1, 1, K, M), random(1, 1, K, M, seed=1).exp()
    earlier = random(1, 1, K, M, seed=2) if borders else None
    expected = brute_force(measured[0, 0], weight[0, 0], None if earlier is None else earlier[0, 0])
    got = solved(measured, weight, earlier=earlier)[0, 0].numpy()
    np.testing.assert_allclose(got, expected, atol=1e-7)


def test_more_steps_come_closer() -> None:
    measured, weight = random(1, 1, K, M), random(1, 1, K, M, seed=1).exp()
    exact = solved(measured, weight, steps=80)
    errors = [float((solved(measured, weight, steps=k) - exact).abs().max()) for k in (2, 6, 12, 24)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 * errors[0]


def test_few_steps_reach_what_is_hardly_known() -> None:
    """Outer lines with a thousandth of the weight, where the start is off: with means alone .85 of it is left."""
    rows, lines = 32, 48
    line = torch.arange(lines, dtype=torch.float64)
    weight = torch.where((line < 6) | (line >= lines - 8), 0.01, 10.0).expand(1, 1, rows, lines)
    weight = weight * (1 + 0.5 * random(1, 1, rows, lines, seed=1)).clamp_min(0.2)
    measured = torch.sin(line / 9) + 0.3 * random(1, 1, rows, lines)
    start = torch.where(line < 10, 1.0, 0.0) + torch.sin(line / 9) + torch.zeros_like(measured)
    grid, costs = Grid(measured), Roughness(along=one(2.0), mixed=one(0.5), across=one(0.5))
    few, exact = (
        steps(grid, measured, weight, steps.penalty(grid, costs), start)
        for steps in (Smoothing(16), Smoothing(400))
    )
    assert float((few - exact).abs().max()) < 0.12 * float((start - exact).abs().max())


def test_equal_weights_make_no_wave_of_another() -> None:
    """D is one number then: a wave of the cosine transform, if borders cut no difference, comes right in one step."""
    measured = torch.zeros(1, 1, K, M, dtype=torch.float64)
    weight, grid = torch.ones_like(measured), Grid(measured)
    penalty = torch.cat((one(0.0), one(20.0), one(0.0)), dim=1) * grid.whole
    wave = torch.outer(grid.up[:, 3], grid.back[2])[None, None]
    assert float(Smoothing(1)(grid, measured, weight, penalty, wave).abs().max()) < 1e-12


def test_uniform_strain_costs_nothing() -> None:
    r, c = torch.meshgrid(torch.arange(K), torch.arange(M), indexing="ij")
    affine = (0.3 * r - 0.2 * c + 1.5).double()[None, None]
    torch.testing.assert_close(solved(affine, torch.ones_like(affine)), affine, atol=1e-6, rtol=0)


def test_fields_of_a_batch_are_solved_apart() -> None:
    measured, weight = random(2, 1, K, M), random(2, 1, K, M, seed=1).exp()
    together = solved(measured, weight)
    for k in range(2):
        alone = solved(measured[k : k + 1], weight[k : k + 1])
        torch.testing.assert_close(together[k : k + 1], alone, atol=1e-7, rtol=0)


def test_gradients_are_those_of_the_steps() -> None:
    smoothing = Smoothing(3).double()
    measured = random(1, 1, 6, 5).requires_grad_()
    weight = random(1, 1, 6, 5, seed=1).exp().detach().requires_grad_()

    def answer(m: Tensor, w: Tensor) -> Tensor:
        grid = Grid(m)
        penalty = smoothing.penalty(grid, ROUGH, m)
        solution: Tensor = smoothing(grid, m, w, penalty, torch.zeros_like(m))
        return solution

    assert torch.autograd.gradcheck(answer, (measured, weight))


def test_no_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="steps: got 0, expected at least 1"):
        Smoothing(0)
