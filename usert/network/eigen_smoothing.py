"""The smoothest field on a small grid of fixed size, where every second difference costs the same.

The problem is that of `usert.network.smoothing` with one λ and no borders of inclusions. The matrix of its penalty then
depends on the size of the grid alone, so that its eigenvectors are a constant of the exported graph. In them penalty
and preconditioner are diagonal, and a step of conjugate gradients is two small products and a few sums: a third of the
operators of a step on the grid, which on a small grid take longer to start than to run.

The preconditioner takes the geometric mean of the weights: where they span decades, as where echoes fade, it comes
much nearer in as many steps than the arithmetic mean (`benchmarks/RESULTS.md`).

Knows nothing of ultrasound. Invariant: a field that is measured as one value stays.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .smoothing import TINY


class EigenSmoothing(nn.Module):
    """The solver: `steps` steps of preconditioned conjugate gradients on a grid of `rows` × `columns` points.

    Shapes: measured and weight (B, 1, rows, columns), all weights above 0, and cost (B, 1), the λ of a second
    difference against a measurement of weight 1 → (B, 1, rows, columns). Errors: `ValueError` for fewer than three
    points a side.
    """

    eigenvalues: Tensor
    vectors: Tensor

    def __init__(self, rows: int, columns: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        values, vectors = np.linalg.eigh(penalty_matrix(rows, columns))
        for name, array in (("eigenvalues", values.clip(0)), ("vectors", vectors)):
            self.register_buffer(name, torch.from_numpy(array.astype(np.float32)), persistent=False)

    def forward(self, measured: Tensor, weight: Tensor, cost: Tensor) -> Tensor:
        shape = measured.shape
        measured, weight = measured.flatten(1), weight.flatten(1)  # (B, rows · columns)
        penalty = cost * self.eigenvalues
        damping = 1 / (torch.exp(torch.log(weight).mean(dim=1, keepdim=True)) + penalty)
        mean = (weight * measured).sum(dim=1, keepdim=True) / weight.sum(dim=1, keepdim=True)

        def in_eigenvectors(field: Tensor) -> Tensor:
            return torch.matmul(field, self.vectors)

        def on_points(field: Tensor) -> Tensor:
            # a column, not a row and the transpose: OpenVINO (2026.4) crashes on a row's two products in turn, and goes
            # wrong on a constant that is taken as it is and transposed
            return torch.matmul(self.vectors, field[:, :, None])[:, :, 0]

        # the mean costs no penalty, so the rest may be looked for by itself
        field = torch.zeros_like(measured)
        residual = in_eigenvectors(weight * (measured - mean))
        direction = damping * residual
        size = (residual * direction).sum(dim=1, keepdim=True)
        for step in range(self.steps):
            ahead = penalty * direction + in_eigenvectors(weight * on_points(direction))
            length = size / (direction * ahead).sum(dim=1, keepdim=True).clamp_min(TINY)
            field = field + length * direction
            if step + 1 == self.steps:
                break
            residual = residual - length * ahead
            better = damping * residual
            before, size = size, (residual * better).sum(dim=1, keepdim=True)
            direction = better + size / before.clamp_min(TINY) * direction
        return (mean + on_points(field)).reshape(shape)


def penalty_matrix(rows: int, columns: int) -> NDArray[np.float64]:
    """The matrix (n, n), n = `rows` · `columns`, of the sum of all squared second differences of a field.

    The differences are those of `usert.network.smoothing`: along, mixed and across, none of them over the border.
    Errors: `ValueError` for fewer than three points a side.
    """
    if min(rows, columns) < 3:
        raise ValueError(f"got {rows} x {columns} points, expected at least 3 x 3")
    down, over = np.eye(rows), np.eye(columns)
    parts = (
        np.kron(np.diff(down, 2, axis=0), over),
        np.kron(np.diff(down, axis=0), np.diff(over, axis=0)),
        np.kron(down, np.diff(over, 2, axis=0)),
    )
    found: NDArray[np.float64] = sum(part.T @ part for part in parts)  # type: ignore[assignment]
    return found
