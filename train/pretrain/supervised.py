"""The supervised loss of pre-training: every level of the network against the true displacement.

Notation: e is the error of the displacement in samples (lateral: lines). Terms, one function each:

    endpoint      Φ(e)                      every level, after M, S and R
    difference    Φ(e(r + h) - e(r))        along depth, over h = 8 and 48 samples: what strain is made of

Φ is |e| while the network learns to match, later (|e| + .01)^½, which also rewards the last hundredths of a
sample (robust penalty in the manner of D. Sun et al., CVPR 2018, Eq. 2, with q ½). Coarse truth is the mean
over a pixel of that level.

Invariant: no flow costs less than the truth itself.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from usert.network.liteflownet import FLOW_SCALE

LATERAL_WEIGHT = 0.25
"""Weight of the lateral error; lines are five to ten times wider than samples and strain is axial."""
STAGE_WEIGHTS = (0.25, 0.25, 0.5)
"""Weights of the flow after M, S and R."""
LEVEL_WEIGHTS = {2: 1.0, 3: 0.6, 4: 0.4, 5: 0.3, 6: 0.3}
SPANS = (8, 48)
"""Samples over which differences of the axial error are taken."""


def penalty(error: Tensor, *, robust: bool) -> Tensor:
    """Penalty Φ of an error, elementwise: |e|, or (|e| + .01)^½ if `robust`."""
    return (error.abs() + 0.01).sqrt() if robust else error.abs()


def endpoint(error: Tensor, *, robust: bool) -> Tensor:
    """Mean penalty of a displacement error (B, 2, H, W), lateral first, in lines and samples."""
    lateral, axial = error[:, 0], error[:, 1]
    return penalty(axial, robust=robust).mean() + LATERAL_WEIGHT * penalty(lateral, robust=robust).mean()


def difference(error: Tensor, scale: int, *, robust: bool) -> Tensor:
    """Mean penalty of axial differences of an error (B, 2, H, W) on a grid of one row in `scale` samples."""
    axial = error[:, 1]
    total = axial.new_zeros(())
    for span in SPANS:
        rows = max(1, span // scale)
        if rows < axial.shape[1]:
            total = total + penalty(axial[:, rows:] - axial[:, :-rows], robust=robust).mean()
    return total


def supervised_loss(
    levels: list[tuple[int, tuple[Tensor, Tensor, Tensor]]], truth: Tensor, *, robust: bool
) -> Tensor:
    """Weighted sum of the terms over levels and stages, a scalar.

    Shapes: `levels` as (level, flows (B, 2, h, w) after M, S, R), in network units; `truth` (B, 2, N, M), axial first,
    in samples and lines.
    """
    flow = truth.flip(1)
    targets = {level: functional.avg_pool2d(flow, 2 ** (level - 1)) for level, _ in levels}
    return _distance(levels, targets, robust=robust)


def distillation_loss(
    levels: list[tuple[int, tuple[Tensor, Tensor, Tensor]]], taught: dict[int, Tensor], *, robust: bool
) -> Tensor:
    """The same sum against a teacher's flow (B, 2, h, w) in network units, by level; levels it lacks are left out."""
    known = [(level, stages) for level, stages in levels if level in taught]
    targets = {level: taught[level].float() * FLOW_SCALE for level, _ in known}
    return _distance(known, targets, robust=robust)


def _distance(
    levels: list[tuple[int, tuple[Tensor, Tensor, Tensor]]], targets: dict[int, Tensor], *, robust: bool
) -> Tensor:
    total = levels[0][1][0].new_zeros((), dtype=torch.float32)
    for level, stages in levels:
        scale = 2 ** (level - 1)
        for weight, output in zip(STAGE_WEIGHTS, stages, strict=True):
            error = output.float() * FLOW_SCALE - targets[level]
            term = endpoint(error, robust=robust)
            if robust:
                term = term + difference(error, scale, robust=True)
            total = total + LEVEL_WEIGHTS[level] * weight * term
    return total
