"""Gradient checkpointing: what a forward pass keeps for the backward pass, and what is computed again.

The paper fine-tunes on whole frames (1920×768) by keeping few intermediate values and recomputing the rest
(2.3; T. Chen et al., "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174). A plan is handed down
the network, whose units say through it what belongs together:

    none     everything is kept
    blocks   one checkpoint for the features and one for each M, S and R: only what passes between is kept
    fine     each warp and cost volume is one, and layers that only see a neighbourhood run in strips of rows,
             one checkpoint a strip, so that their wide maps never exist at full height

Knows nothing of the network's layers. Invariant: every plan gives the same values and gradients, up to the
rounding of sums that are formed in another order. The functions must not draw random numbers, nor write into
their inputs; in-place activations behind a layer of their own are fine.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Checkpointing = Literal["none", "blocks", "fine"]
Result = TypeVar("Result")
Argument = Any  # tensors, or lists and tuples of them


def recomputed(function: Callable[..., Result], *inputs: Argument) -> Result:
    """Call `function(*inputs)`, keeping only the inputs until the backward pass, which calls it again."""
    if not torch.is_grad_enabled():
        return function(*inputs)
    # preserve_rng_state: nothing here is random, and saving the generator of a GPU waits for it
    result = checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
    return cast(Result, result)


def in_strips(function: Callable[..., Tensor], *inputs: Tensor, grid: int, halo: int, rows: int) -> Tensor:
    """Call `function(*inputs)` a strip of rows at a time, each strip recomputed in the backward pass.

    Shapes: (B, C, k·grid, W) with a k of each input's own → (B, C', k'·grid, W'). `rows` (at least) and `halo` count
    rows of `grid`, the coarsest there is. A row of the result must depend on no more than `halo` rows either side of
    it: a strip is cut with these, and the rows that its own padding touched are cut off again. At the frame's edges the
    padding is the function's own.
    """
    count = max(1, grid // rows)
    edges = [grid * k // count for k in range(count + 1)]

    def strip(begin: int, end: int) -> Tensor:
        top, bottom = max(0, begin - halo), min(grid, end + halo)

        def inside(*parts: Tensor) -> Tensor:
            result = function(*parts)
            scale = result.shape[2] // (bottom - top)
            return result[:, :, (begin - top) * scale : (end - top) * scale]

        scales = [one.shape[2] // grid for one in inputs]
        parts = [one[:, :, top * k : bottom * k] for one, k in zip(inputs, scales, strict=True)]
        return recomputed(inside, *parts)

    return torch.cat([strip(begin, end) for begin, end in pairwise(edges)], dim=2)


class Plan:
    """The plan `none`, in which all is computed as it is written, as it must be for export; base of the others."""

    frugal = False
    """Whether to compute a cheap layer again wherever its output is needed rather than keep it."""

    def unit(self, function: Callable[..., Result], *inputs: Argument) -> Result:
        """Compute M, S or R of a level."""
        return function(*inputs)

    def cheap_unit(self, function: Callable[..., Result], *inputs: Argument) -> Result:
        """Compute a unit that holds much and computes little: recomputed even where its parts are, too."""
        return function(*inputs)

    def part(self, function: Callable[..., Result], *inputs: Argument) -> Result:
        """Compute some layers of a unit."""
        return function(*inputs)

    def strips(self, function: Callable[..., Tensor], *inputs: Tensor, grid: int, halo: int) -> Tensor:
        """Compute layers of a unit of which a row depends on `halo` rows either side, as `in_strips` does."""
        return function(*inputs)


class Blocks(Plan):
    """The plan `blocks`: one checkpoint a unit."""

    def unit(self, function: Callable[..., Result], *inputs: Argument) -> Result:
        return recomputed(function, *inputs)

    def cheap_unit(self, function: Callable[..., Result], *inputs: Argument) -> Result:
        return recomputed(function, *inputs)


class Fine(Plan):
    """The plan `fine`: small checkpoints, and strips of at least `rows` rows.

    64 rows: R, the tallest neighbourhood, computes 18 rows more a strip; measured in `benchmarks/memory.py`.
    """

    frugal = True

    def __init__(self, rows: int = 64) -> None:
        self.rows = rows

    def cheap_unit(self, function: Callable[..., Result], *inputs: Argument) -> Result:
        return recomputed(function, *inputs)

    def part(self, function: Callable[..., Result], *inputs: Argument) -> Result:
        return recomputed(function, *inputs)

    def strips(self, function: Callable[..., Tensor], *inputs: Tensor, grid: int, halo: int) -> Tensor:
        return in_strips(function, *inputs, grid=grid, halo=halo, rows=self.rows)


NONE = Plan()
PLANS: dict[str, Plan] = {"none": NONE, "blocks": Blocks(), "fine": Fine()}


def plan_named(name: str) -> Plan:
    """The plan called `name` in `PLANS`. Errors: `ValueError` for another name."""
    if name not in PLANS:
        raise ValueError(f"checkpointing: got {name!r}, expected one of {', '.join(PLANS)}")
    return PLANS[name]
