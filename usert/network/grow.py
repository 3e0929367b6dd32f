"""A finer level that starts as a copy of the next coarser one.

The finest level is most of the network's work, so it is trained last; its matching and smoothing begin where
level k + 1 arrived. Kernels that are larger at the finer level get the coarser one's taps in their middle.
What reads features of another width cannot be copied and starts from random weights.

Knows nothing of training. Invariant: what the coarser levels compute is unchanged.
"""

from __future__ import annotations

import typing

import torch
from torch import nn

from .liteflownet import KERNEL, Level, LiteFlowNet

FAR = 2.5
"""Distance that R starts with for the neighbours that the coarser level did not have: a weight of e^-6."""


def grow(network: LiteFlowNet, finest: int) -> LiteFlowNet:
    """A network down to level `finest`, on the CPU, with every level of `network` and copies for the new ones.

    Errors: `ValueError` for a level that is coarser than the finest of `network`.
    """
    if finest > network.finest:
        raise ValueError(f"finest: got {finest}, expected at most {network.finest}")
    grown = network.down_to(finest)
    grown.load_state_dict(network.state_dict(), strict=False)
    for level in range(network.finest - 1, finest - 1, -1):
        coarse = typing.cast(Level, grown.levels[str(level + 1)])
        fine = typing.cast(Level, grown.levels[str(level)])
        with torch.no_grad():
            _copy_level(coarse, fine)
    return grown


def coarsened(network: LiteFlowNet, finest: int) -> LiteFlowNet:
    """A copy of the network that stops at level `finest`, or `network` itself where it goes no further."""
    if network.finest >= finest:
        return network
    coarser = network.down_to(finest)
    coarser.load_state_dict(network.state_dict(), strict=False)
    return coarser.train(network.training)


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
        return  # from level 5 on there is one convolution: nothing to copy from
    small, large = KERNEL[coarse.level], KERNEL[fine.level]
    margin = (large - small) // 2
    kept = [(i + margin) * large + j + margin for i in range(small) for j in range(small)]
    inner = slice(margin, large - margin)

    down, across = (_weights(after[i]) for i in (0, 1))
    old_down, old_across = (_weights(before[i]) for i in (0, 1))
    down[0].zero_()
    down[1].zero_()
    across[0].zero_()
    across[1].fill_(FAR)
    down[1][kept], across[1][kept] = old_down[1], old_across[1]
    for row, source in zip(kept, old_down[0], strict=True):
        down[0][row][:, inner, :] = source
    for row, source in zip(kept, old_across[0], strict=True):
        across[0][row][kept, :, inner] = source

    for scale, old_scale in (
        (fine.regularization.scale_x, coarse.regularization.scale_x),
        (fine.regularization.scale_y, coarse.regularization.scale_y),
    ):
        (weight, bias), (old_weight, old_bias) = _weights(scale), _weights(old_scale)
        weight[:, kept] = old_weight
        bias.copy_(old_bias)


def _weights(module: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a convolution that has both."""
    return typing.cast(torch.Tensor, module.weight), typing.cast(torch.Tensor, module.bias)
