"""NetC: the pyramid of features of one frame, and the normalisation of two to common mean and deviation.

Knows nothing of flow. Invariant: level k has 1 / 2^(k-1) of the frame's rows and lines. Level 1 only feeds level 2 and
is not kept.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from .checkpoint import NONE, Plan
from .widths import FULL, Widths

HALO = 4
"""Rows of level 2 on which a row of level 2 depends, either side, through the kernels of levels 1 and 2."""


def leaky() -> nn.LeakyReLU:
    """The activation of every layer: leaky ReLU with slope 0.1."""
    return nn.LeakyReLU(0.1, inplace=True)


def conv(inside: int, outside: int, kernel: int | tuple[int, int] = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution from `inside` to `outside` channels, padded so that only `stride` changes the size of the map."""
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    return nn.Conv2d(inside, outside, sides, stride, (sides[0] // 2, sides[1] // 2))


class Features(nn.Module):
    """The pyramid of features of one frame.

    Shapes: (B, 3, H, W) → five maps, level k from 2 on (B, widths.features[k], H / 2^(k-1), W / 2^(k-1)).
    """

    def __init__(self, channels: int = 3, widths: Widths = FULL) -> None:
        super().__init__()
        blocks = [nn.Sequential(conv(channels, widths.features[1], 7), leaky())]
        for level, depth in ((2, 3), (3, 2), (4, 2), (5, 1), (6, 1)):
            inside, outside = widths.features[level - 1], widths.features[level]
            layers: list[nn.Module] = [conv(inside, outside, 3, 2), leaky()]
            for _ in range(depth - 1):
                layers += [conv(outside, outside), leaky()]
            blocks.append(nn.Sequential(*layers))
        self.levels = nn.ModuleList(blocks)

    def forward(self, image: Tensor, plan: Plan = NONE) -> list[Tensor]:
        features = [plan.strips(self._to_level_2, image, grid=image.shape[2] // 2, halo=HALO)]
        for block in self.levels[2:]:
            features.append(plan.part(block, features[-1]))
        return features

    def _to_level_2(self, image: Tensor) -> Tensor:
        level_2: Tensor = self.levels[1](self.levels[0](image))
        return level_2


def normalised(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Features (B, C, H, W) of both frames with the mean and deviation of each channel over both removed, float32."""
    both = first.float(), second.float()
    mean, power = (
        (a.mean(dim=(2, 3), keepdim=True) + b.mean(dim=(2, 3), keepdim=True)) / 2
        for a, b in (both, [one.square() for one in both])
    )
    deviation = torch.sqrt(power - mean.square() + 1e-6)
    return (first - mean) / deviation, (second - mean) / deviation


def normalised_frugally(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The function `normalised` as one instance norm: fewer maps at once in its backward pass, but another graph."""
    both = torch.cat((first.float(), second.float()), dim=2)  # (B, C, 2H, W)
    one, two = functional.instance_norm(both, eps=1e-6).chunk(2, dim=2)
    return one, two
