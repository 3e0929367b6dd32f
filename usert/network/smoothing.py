"""The smoothest displacement that agrees with measurements: one weighted least-squares problem for a whole frame.

Of a field a, measured as m with weight W on a grid, minimises

    Σ W (a - m)² + Σ λ_rr ψ(∂²a/∂r²) + Σ λ_rc ψ(∂²a/∂r∂c) + Σ λ_cc ψ(∂²a/∂c²)

with r along depth and c across lines. For axial displacement the first two are the changes of strain along and
across; uniform strain costs nothing, whatever its size, so that no strain is drawn towards the mean. (GLUE and
the paper's Eq. 5 charge the first derivative's distance from its mean, and flatten a lesion's contrast.)
ψ(x) = x² at first; with a `scale` s the penalty of a change beyond s grows like |x| only, by reweighting with
1 / √(1 + (x / s)²) from an earlier solution, so that the border of an inclusion may stay sharp.

Solved by a fixed number of steps of conjugate gradients. The matrix is never made: differences are one 3 × 3
convolution, their adjoint another. The preconditioner is the same matrix with W and λ replaced by their means,
which cosine transforms make diagonal (two small matrix products a direction).

Knows nothing of ultrasound. Invariant: a field whose second derivatives are 0 and that is measured as it is stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

TINY = 1e-20


@dataclass(frozen=True, slots=True, kw_only=True)
class Roughness:
    """What each second difference costs, against a measurement of weight 1; tensors (B, 1, 1, 1)."""

    along: Tensor
    """λ_rr: ∂²a/∂r²."""
    mixed: Tensor
    """λ_rc: ∂²a/∂r∂c."""
    across: Tensor
    """λ_cc: ∂²a/∂c²."""
    scale: Tensor | None = None
    """s: differences beyond it are taken for a border. None: none is."""


class Smoothing(nn.Module):
    """`steps` steps of preconditioned conjugate gradients.

    Shapes: measured, weight, start (B, 1, K, M), all weights above 0 → the solution (B, 1, K, M).
    """

    differences: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps: got {steps}, expected at least 1")
        self.steps = steps
        second = torch.tensor([1.0, -2.0, 1.0])
        kernels = torch.zeros(3, 1, 3, 3)
        kernels[0, 0, :, 1] = second
        kernels[1, 0, 1:, 1:] = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
        kernels[2, 0, 1, :] = second
        self.register_buffer("differences", kernels, persistent=False)

    def penalty(self, roughness: Roughness, like: Tensor, earlier: Tensor | None = None) -> Tensor:
        """(B, 3, K, M): the λ of each difference, 0 where it would reach over the border.

        `earlier` is a solution that the borders of inclusions are taken from; without it there are none.
        """
        reach = functional.conv2d(torch.ones_like(like), self.differences.abs(), padding=1)
        strength = torch.cat((roughness.along, roughness.mixed, roughness.across), dim=1)
        penalty = strength * (reach > 3.5).to(like.dtype)
        if earlier is None or roughness.scale is None:
            return penalty
        change = functional.conv2d(earlier, self.differences, padding=1) / roughness.scale
        return penalty * torch.rsqrt(1 + change.square())

    def forward(self, measured: Tensor, weight: Tensor, penalty: Tensor, start: Tensor) -> Tensor:
        inverse = self._preconditioner(weight, penalty)
        # conv2d with the kernels turned round and padding is the adjoint of `differences` with padding
        adjoint = self.differences.flip(2, 3).transpose(0, 1)

        def matrix(field: Tensor) -> Tensor:
            rough = penalty * functional.conv2d(field, self.differences, padding=1)
            return weight * field + functional.conv2d(rough, adjoint, padding=1)

        field, residual = start, weight * measured - matrix(start)
        direction = better = inverse(residual)
        size = _dot(residual, better)
        for step in range(self.steps):
            ahead = matrix(direction)
            length = size / _dot(direction, ahead).clamp_min(TINY)
            field = field + length * direction
            if step + 1 == self.steps:
                break
            residual = residual - length * ahead
            better = inverse(residual)
            before, size = size, _dot(residual, better)
            direction = better + size / before.clamp_min(TINY) * direction
        return field

    def _preconditioner(self, weight: Tensor, penalty: Tensor) -> _Inverse:
        rows, lines = weight.shape[2:]
        mean = penalty.mean(dim=(2, 3), keepdim=True)
        depth = _eigenvalues(rows, weight)[:, None]
        width = _eigenvalues(lines, weight)[None, :]
        values = (
            weight.mean(dim=(2, 3), keepdim=True)
            + mean[:, 0:1] * depth.square()
            + mean[:, 1:2] * depth * width
            + mean[:, 2:3] * width.square()
        )
        return _Inverse(values)


class _Inverse:
    """The inverse of a matrix that cosine transforms along both directions make diagonal.

    Each transform is built as it is used, its transpose too: OpenVINO (2026.4) goes wrong on a constant that one
    product takes as it is and another transposed.
    """

    def __init__(self, values: Tensor) -> None:
        rows, lines = values.shape[2:]
        self._values = values
        (self._down, self._up), (self._back, self._over) = _cosines(rows, values), _cosines(lines, values)

    def __call__(self, field: Tensor) -> Tensor:
        spectrum = self._down @ field @ self._over / self._values
        return self._up @ spectrum @ self._back


def _cosines(size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """The orthonormal cosine transform (DCT-II), a row for each frequency, and its transpose; (size, size)."""
    at = torch.arange(size, device=like.device, dtype=like.dtype)
    count = at[-1] + 1  # a tensor: dividing by a free size breaks the export of a graph of any shape

    def of(frequency: Tensor, place: Tensor) -> Tensor:
        wave = torch.cos(frequency * (2 * place + 1) * (math.pi / 2) / count) * torch.sqrt(2 / count)
        return wave * torch.where(frequency == 0, math.sqrt(0.5), 1.0)

    return of(at[:, None], at[None, :]), of(at[None, :], at[:, None])


def _eigenvalues(size: int, like: Tensor) -> Tensor:
    """(size,): of -∂², differences with free ends."""
    at = torch.arange(size, device=like.device, dtype=like.dtype)
    return 2 - 2 * torch.cos(math.pi * at / (at[-1] + 1))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(1, 2, 3), keepdim=True)
