"""How near the refinement's solver comes to the exact solution, step by step.

    python benchmarks/refinement_solver.py [--rf ../shared/rf] [--weights FILE]

The least-squares problems that the refinement meets on a pair are solved directly in float64 (sparse LU), and
conjugate gradients from the same start are held against that with three preconditioners: the diagonal, every line
for itself exactly (a banded solve along depth), and cosine transforms, which is what `usert.network.smoothing`
does in float32. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sparse
import torch
from refinement import (
    Field,
    Frames,
    default_weights,
    first_differences,
    second_differences,
    sets_of_pairs,
    solve_directly,
)
from tables import markdown
from torch import Tensor

from usert.errors import UsertError
from usert.machine import cpu_name
from usert.network.refine import Refinement
from usert.network.smoothing import Smoothing

STEPS = (1, 2, 4, 6, 8, 12, 16, 24)


def solver_table(frames: Frames) -> list[dict[str, Any]]:
    """Error of each preconditioner after each number of steps, for the problems of both rounds."""
    caught: list[Any] = []
    refinement = Refinement("full", steps=30)
    refinement.smoothing.register_forward_pre_hook(lambda _, arguments: caught.append(arguments))
    with torch.inference_mode():
        refinement(frames.first, frames.second, frames.start)
    rows = []
    for turn, problem in enumerate(caught, 1):
        grid, *fields = problem
        for component, name in enumerate(("axial", "lateral")):
            measured, weight, penalty, start = (part[component : component + 1] for part in fields)
            matrix = _matrix(weight, penalty)
            right = (weight * measured).double().numpy().ravel()
            exact = solve_directly(matrix, right)
            begin = start.double().numpy().ravel()
            errors = {
                "diagonal": _errors(matrix, right, begin, exact, _diagonal(matrix)),
                "lines": _errors(matrix, right, begin, exact, _lines(matrix, weight.shape[2:])),
                "cosines (ours, float32)": [
                    _off(Smoothing(k)(grid, measured, weight, penalty, start).double().numpy().ravel(), exact)
                    for k in STEPS
                ],
            }
            for preconditioner, values in errors.items():
                row = {
                    "pair": frames.pair.name,
                    "round": turn,
                    "component": name,
                    "preconditioner": preconditioner,
                }
                rows.append(
                    row | {"start": _off(begin, exact)} | dict(zip(map(str, STEPS), values, strict=True))
                )
    return rows


def _matrix(weight: Tensor, penalty: Tensor) -> Any:
    """W + Dᵀ λ D of a field (K, M), written with sparse differences; (K · M) square."""
    rows, lines = weight.shape[2:]
    along, across = second_differences(rows), second_differences(lines)
    first_r, first_c = first_differences(rows), first_differences(lines)
    operators = (
        sparse.kron(along, sparse.eye(lines)),
        sparse.kron(first_r, first_c),
        sparse.kron(sparse.eye(rows), across),
    )
    strengths = penalty[0].double().numpy()
    inside = (strengths[0, 1:-1], strengths[1, :-1, :-1], strengths[2, :, 1:-1])
    matrix = sparse.diags(weight.double().numpy().ravel())
    for operator, strength in zip(operators, inside, strict=True):
        matrix = matrix + operator.T @ sparse.diags(strength.ravel()) @ operator
    return matrix.tocsr()


def _off(solution: Field, exact: Field) -> float:
    return float(np.sqrt(np.mean((solution - exact) ** 2)))


def _diagonal(matrix: Any) -> Callable[[Field], Field]:
    inverse = 1 / matrix.diagonal()
    return lambda residual: inverse * residual


def _lines(matrix: Any, shape: Any) -> Callable[[Field], Field]:
    """Exact along depth: the part of the matrix within each line, five diagonals once lines come first."""
    rows, lines = shape
    order = np.arange(rows * lines).reshape(rows, lines).T.ravel()
    sorted_matrix = matrix[order][:, order]
    band = np.zeros((3, rows * lines))
    for above in range(3):
        diagonal = sorted_matrix.diagonal(above)
        band[2 - above, above:] = diagonal
    factor = scipy.linalg.cholesky_banded(band)

    def solve(residual: Field) -> Field:
        answer = np.empty_like(residual)
        answer[order] = scipy.linalg.cho_solve_banded((factor, False), residual[order])
        return answer

    return solve


def _errors(
    matrix: Any, right: Field, start: Field, exact: Field, precondition: Callable[[Field], Field]
) -> list[float]:
    """Root mean square error after each of `STEPS` steps of conjugate gradients."""
    field, residual = start.copy(), right - matrix @ start
    better = precondition(residual)
    direction, size = better.copy(), residual @ better
    errors = []
    for step in range(1, STEPS[-1] + 1):
        ahead = matrix @ direction
        length = size / (direction @ ahead)
        field += length * direction
        residual = residual - length * ahead
        better = precondition(residual)
        before, size = size, residual @ better
        direction = better + size / before * direction
        if step in STEPS:
            errors.append(_off(field, exact))
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rf", type=Path, help="folder of RF frames; without it only a simulated pair")
    parser.add_argument(
        "--weights", type=Path, help="weights of the network; the default bundle's if not given"
    )
    options = parser.parse_args()
    try:
        sets = sets_of_pairs(options.weights or default_weights(), options.rf, seeds=1)
        chosen = [sets["1 %"][0], *(members[0] for name, members in sets.items() if "→" in name)]
        rows = [row for frames in chosen for row in solver_table(frames)]
    except UsertError as error:
        sys.exit(f"refinement_solver: {error}")
    print(
        f"### Error against a direct solve (samples or lines) after each number of steps\n\n{markdown(rows)}\n"
    )
    print(json.dumps({"benchmark": "refinement_solver", "machine": cpu_name(), "rows": rows}))


if __name__ == "__main__":
    main()
