"""The smoothest displacement that agrees with measurements: one weighted least-squares problem for a whole frame.

Of a field a, measured as m with weight W on a grid, minimises

    Σ W (a - m)² + Σ λ_rr ψ(∂²a/∂r²) + Σ λ_rc ψ(∂²a/∂r∂c) + Σ λ_cc ψ(∂²a/∂c²)

with r along depth and c across lines. For axial displacement the first two are the changes of strain along and
across; uniform strain costs nothing, whatever its size, so that no strain is drawn towards the mean. (GLUE and
the paper's Eq. 5 charge the first derivative's distance from its mean, and flatten a lesion's contrast.)
ψ(x) = x² at first; with a `scale` s the penalty of a change beyond s grows like |x| only, by reweighting with
1 / √(1 + (x / s)²) from an earlier solution, so that the border of an inclusion may stay sharp.

Solved by a fixed number of steps of conjugate gradients. The matrix is never made: differences and their adjoint are
sums of a field moved by a point, which the libraries that run the exported graph do faster than convolutions of one
channel. The preconditioner is the same matrix with W and λ replaced by their means, which cosine transforms make
diagonal (two small matrix products a direction). Means alone are poor where W spans decades, as where echoes end: steps
then go to what little can be known there. So the field is solved for in units in which weights are alike: before and
after the transforms it is multiplied by 1 / √D, and D is W averaged over about as far as the field is smoothed.

Knows nothing of ultrasound. Invariant: a field whose second derivatives are 0 and that is measured as it is stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch._higher_order_ops.while_loop import while_loop

TINY = 1e-20
LEAST_LEVEL = 0.045
"""Of the root of the mean weight times the sum of the λ: added to D, for where W is less than that the λ rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roughness:
    """The cost of each second difference against a measurement of weight 1, tensors (B, 1, 1, 1)."""

    along: Tensor
    """λ_rr: ∂²a/∂r²."""
    mixed: Tensor
    """λ_rc: ∂²a/∂r∂c."""
    across: Tensor
    """λ_cc: ∂²a/∂c²."""
    scale: Tensor | None = None
    """s: differences beyond it are taken for a border; None for no borders."""


class Grid:
    """Constants that depend on the size of the fields alone, made once for all problems of that size.

    Each cosine transform is built as it is used, its transpose too: OpenVINO (2026.4) goes wrong on a constant that one
    product takes as it is and another transposed.
    """

    def __init__(self, like: Tensor) -> None:
        down, over = (
            torch.arange(size, device=like.device, dtype=like.dtype)
            for size in (like.shape[2], like.shape[3])
        )
        self.down, self.up = _cosines(down[:, None], down[None, :]), _cosines(down[None, :], down[:, None])
        self.back, self.over = _cosines(over[:, None], over[None, :]), _cosines(over[None, :], over[:, None])
        self.depth, self.width = _eigenvalues(down)[:, None], _eigenvalues(over)[None, :]
        row, line = down[:, None], over[None, :]
        last_row, last_line = row == row[-1:], line == line[:, -1:]
        nothing = 0 * row * line
        self.whole = torch.stack(
            [
                nothing + ((row > 0) & ~last_row),
                nothing + (~last_row & ~last_line),
                nothing + ((line > 0) & ~last_line),
            ]
        )[None]
        """(1, 3, K, M): 1 where a second difference does not reach over the border, else 0."""


class Smoothing(nn.Module):
    """The solver: `steps` steps of preconditioned conjugate gradients. Errors: `ValueError` for no steps.

    Shapes: measured, weight, start (B, 1, K, M), all weights above 0, and the result of `penalty` → (B, 1, K, M).
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps: got {steps}, expected at least 1")
        self.steps = steps
        self.looped = False
        """Whether the steps are one loop of the exported graph, and not each its own operators."""

    def penalty(self, grid: Grid, roughness: Roughness, earlier: Tensor | None = None) -> Tensor:
        """The λ (B, 3, K, M) of each second difference, 0 where it would reach over the border.

        Borders of inclusions are taken from `earlier`, a solution (B, 1, K, M); without it there are none.
        """
        strength = torch.cat((roughness.along, roughness.mixed, roughness.across), dim=1)
        penalty = strength * grid.whole
        if earlier is None or roughness.scale is None:
            return penalty
        change = torch.cat(_differences(earlier), dim=1) / roughness.scale
        return penalty * torch.rsqrt(1 + change.square())

    def forward(self, grid: Grid, measured: Tensor, weight: Tensor, penalty: Tensor, start: Tensor) -> Tensor:
        even, damping = _levelled(grid, weight, penalty)

        def matrix(field: Tensor) -> Tensor:
            cost = penalty.chunk(3, dim=1)
            along, mixed, across = (one * part for one, part in zip(cost, _differences(field), strict=True))
            return weight * field + _adjoint(along, mixed, across)

        def step(
            field: Tensor, residual: Tensor, direction: Tensor, before: Tensor
        ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            waves = Grid(field) if self.looped else grid  # a loop's constants lie in the loop
            better = waves.up @ (waves.down @ (even * residual) @ waves.over * damping) @ waves.back * even
            size = _dot(residual, better)
            direction = better + size / before.clamp_min(TINY) * direction
            ahead = matrix(direction)
            length = size / _dot(direction, ahead).clamp_min(TINY)
            return field + length * direction, residual - length * ahead, direction, size

        residual = weight * measured - matrix(start)
        state = start, residual, torch.zeros_like(start), torch.ones_like(start[:, :1, :1, :1])
        if self.looped:
            return _repeated(step, self.steps, state)
        for _ in range(self.steps):
            state = step(*state)
        return state[0]


def _repeated(step: Callable[..., tuple[Tensor, ...]], times: int, state: tuple[Tensor, ...]) -> Tensor:
    """The first tensor of what `step` makes of `state`, applied so many times: one operator of an exported graph."""

    def goes_on(done: Tensor, *_: Tensor) -> Tensor:
        return done < times

    def once(done: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        return done + 1, *step(*state)

    found: Tensor = while_loop(goes_on, once, (torch.tensor(0), *state))[1]  # type: ignore[no-untyped-call]
    return found


def _levelled(grid: Grid, weight: Tensor, penalty: Tensor) -> tuple[Tensor, Tensor]:
    """1 / √D (B, 1, K, M) and the damping (B, 1, K, M) of each cosine: the parts of the preconditioner.

    (1 - ℓ_r² ∂²/∂r² - ℓ_c² ∂²/∂c²) D = W, with ℓ⁴ = λ / W the length over which a field is smoothed, and a least level
    more: the lower it is, the rougher D, and the less do means of λ / D tell.
    """
    known, (along, mixed, across) = _mean(weight), _mean(penalty).chunk(3, dim=1)
    near = 1 / (1 + torch.sqrt(along / known) * grid.depth + torch.sqrt(across / known) * grid.width)
    level = grid.up @ (grid.down @ weight @ grid.over * near) @ grid.back
    # never below 0 but for rounding
    level = level.clamp_min(0.0) + LEAST_LEVEL * torch.sqrt(known * (along + mixed + across))
    known, (along, mixed, across) = _mean(weight / level), _mean(penalty / level).chunk(3, dim=1)
    spectrum = (
        known + along * grid.depth.square() + mixed * grid.depth * grid.width + across * grid.width.square()
    )
    return torch.rsqrt(level), 1 / spectrum  # once: in each step a product is faster than a quotient


def _differences(field: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """∂²/∂r², ∂²/∂r∂c and ∂²/∂c² of (B, 1, K, M), alike, what lies outside counted as 0."""
    wider = functional.pad(field, (1, 1, 1, 1))
    here, before, after = wider[..., 1:-1], wider[..., :-2], wider[..., 2:]
    below = here[:, :, 2:]
    along = below - 2 * field + here[:, :, :-2]
    mixed = field - after[:, :, 1:-1] - below + after[:, :, 2:]
    across = after[:, :, 1:-1] - 2 * field + before[:, :, 1:-1]
    return along, mixed, across


def _adjoint(along: Tensor, mixed: Tensor, across: Tensor) -> Tensor:
    """What `_differences` is the transpose of."""
    rows, lines = functional.pad(along, (0, 0, 1, 1)), functional.pad(across, (1, 1))
    corner = functional.pad(mixed, (1, 0, 1, 0))
    return (
        rows[:, :, 2:] - 2 * along + rows[:, :, :-2]
        + lines[..., 2:] - 2 * across + lines[..., :-2]
        + mixed - corner[:, :, 1:, :-1] - corner[:, :, :-1, 1:] + corner[:, :, :-1, :-1]
    )  # fmt: skip


def _cosines(frequency: Tensor, place: Tensor) -> Tensor:
    """The orthonormal cosine transform (DCT-II) of as many places as there are, one of both (size, 1)."""
    count = frequency.flatten()[-1] + 1  # a tensor: dividing by a free size breaks a graph of any shape
    wave = torch.cos(frequency * (2 * place + 1) * (math.pi / 2) / count) * torch.sqrt(2 / count)
    return wave * torch.where(frequency == 0, math.sqrt(0.5), 1.0)


def _eigenvalues(at: Tensor) -> Tensor:
    """(size,): of -∂², differences with free ends."""
    return 2 - 2 * torch.cos(math.pi * at / (at[-1] + 1))


def _mean(field: Tensor) -> Tensor:
    return field.mean(dim=(2, 3), keepdim=True)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(1, 2, 3), keepdim=True)
