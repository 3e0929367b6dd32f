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
