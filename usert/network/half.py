"""The network in half precision, for GPUs: features, costs and convolutions in float16, flow in float32.

Half a float has eleven bits: beyond 64 samples its steps are .06, so what carries the flow (upsampling it, the grid
and the warp, the last weights of R) stays in float32, as under autocast in training.

Knows which layers carry flow; nothing of graphs or files. Invariant: weights that are float16 in their file are
the same to the bit.
"""

from __future__ import annotations

import copy

from torch import nn

from .liteflownet import LiteFlowNet
from .units import Level


def in_half(network: LiteFlowNet) -> LiteFlowNet:
    """A copy of the network that computes in float16, but for the layers that carry flow."""
    half = copy.deepcopy(network)
    half.features.half()
    for level in half.levels.values():
        assert isinstance(level, Level)  # for the type checker: `nn.ModuleDict` forgets
        for layer in _without_flow(level):
            layer.half()
    return half


def _without_flow(level: Level) -> list[nn.Module]:
    matching, regularization = level.matching, level.regularization
    layers: list[nn.Module] = [
        level.reduce,
        matching.head,
        level.subpixel.head,
        regularization.reduce,
        regularization.body,
        regularization.distance,
    ]
    return layers if matching.upsample_cost is None else [*layers, matching.upsample_cost]
