"""A finer level that starts as a copy of the next coarser one.

The finest level is most of the network's work, so it is trained last; its matching and smoothing begin where level
k + 1 arrived. Kernels that are larger at the finer level get the coarser one's taps in their middle.
Invariant: what the coarser levels compute is unchanged.
"""

from __future__ import annotations

import torch
from torch import nn

from .liteflownet import KERNEL, Level, LiteFlowNet

FAR = 2.5
"""Distance that R starts with for the neighbours that the coarser level did not have: a weight of e^-6."""


def grow(network: LiteFlowNet, finest: int) -> LiteFlowNet:
    """A network down to `finest`, with every level of `network` and copies for the new ones."""
    grown = LiteFlowNet(finest=finest, normalise_features=network.normalise_features)
    grown.load_state_dict(network.state_dict(), strict=False)
    for level in range(network.finest - 1, finest - 1, -1):
        with torch.no_grad():
            _copy_level(grown.levels[str(level + 1)], grown.levels[str(level)])  # type: ignore[arg-type]
    return grown


def _copy_level(coarse: Level, fine: Level) -> None:
    source = dict(coarse.named_parameters())
    for name, target in fine.named_parameters():
        value = source.get(name)
        if value is None or name.startswith("regularization.distance") or value.shape[:2] != target.shape[:2]:
            continue
        margin = (target.shape[-1] - value.shape[-1]) // 2 if value.ndim == 4 else 0
        if margin:
            target.zero_()
            target[..., margin:-margin, margin:-margin] = value
        elif value.shape == target.shape:
            target.copy_(value)
    for head in (fine.matching.head[-1], fine.subpixel.head[-1]):
        if isinstance(head, nn.Conv2d) and head.bias is not None:
            head.weight.mul_(0.5)  # a pixel of the finer level is half as far
            head.bias.mul_(0.5)
    _copy_distance(coarse, fine)


def _copy_distance(coarse: Level, fine: Level) -> None:
    """Put the k × k neighbours of the coarser R in the middle of the finer one's."""
    before, after = coarse.regularization.distance, fine.regularization.distance
    if not (isinstance(before, nn.Sequential) and isinstance(after, nn.Sequential)):
        return
    small, large = KERNEL[coarse.level], KERNEL[fine.level]
    margin = (large - small) // 2
    kept = [(i + margin) * large + j + margin for i in range(small) for j in range(small)]
    for old, new, mixes in ((before[0], after[0], False), (before[1], after[1], True)):
        new.weight.zero_()
        new.bias.fill_(FAR if mixes else 0.0)
        new.bias[kept] = old.bias
        axis = 3 if mixes else 2
        inner = slice(margin, large - margin)
        weight = old.weight if axis == 2 else old.weight
        for row, source in zip(kept, weight, strict=True):
            if mixes:
                new.weight[row][kept, :, inner] = source
            else:
                new.weight[row][:, inner, :] = source
    for scale_before, scale_after in (
        (coarse.regularization.scale_x, fine.regularization.scale_x),
        (coarse.regularization.scale_y, fine.regularization.scale_y),
    ):
        scale_after.weight[:, kept] = scale_before.weight
        if scale_before.bias is not None and scale_after.bias is not None:
            scale_after.bias.copy_(scale_before.bias)
