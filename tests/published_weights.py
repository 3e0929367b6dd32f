"""A file of weights such as a user may own, with random numbers in it."""

from __future__ import annotations

import torch
from torch import Tensor


def published(prefix: str) -> dict[str, Tensor]:
    """A state_dict with the names and shapes of the PyTorch port (S. Niklaus, pytorch-liteflownet)."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}

    def add(name: str, *shape: int, bias: bool = True) -> None:
        state[f"{name}.weight"] = torch.randn(shape, generator=generator)
        if bias:
            state[f"{name}.bias"] = torch.randn(shape[0], generator=generator)

    n = prefix
    inside = 3
    for name, outside, sides in (
        ("One", 32, (7,)),
        ("Two", 32, (3, 3, 3)),
        ("Thr", 64, (3, 3)),
        ("Fou", 96, (3, 3)),
        ("Fiv", 128, (3,)),
        ("Six", 192, (3,)),
    ):
        for i, side in enumerate(sides):
            add(f"{n}Features.{n}{name}.{2 * i}", outside, inside, side, side)
            inside = outside
    for index, (channels, kernel) in enumerate(((32, 7), (64, 5), (96, 5), (128, 3), (192, 3))):
        level, taps = index + 2, kernel * kernel
        matching, subpixel, regularization = (
            f"{n}{unit}.{index}.{n}" for unit in ("Matching", "Subpixel", "Regularization")
        )
        if level == 2:
            add(f"{matching}Feat.0", 64, 32, 1, 1)
            for part in ("weight", "bias"):  # one layer of the published network, which the port holds twice
                state[f"{subpixel}Feat.0.{part}"] = state[f"{matching}Feat.0.{part}"].clone()
        if level < 6:
            add(f"{matching}Upflow", 2, 1, 4, 4, bias=False)
        if level < 4:
            add(f"{matching}Upcorr", 49, 1, 4, 4, bias=False)
        for unit, first in ((matching, 49), (subpixel, 2 * max(channels, 64) + 2)):
            for i, (a, b, side) in enumerate(((first, 128, 3), (128, 64, 3), (64, 32, 3), (32, 2, kernel))):
                add(f"{unit}Main.{2 * i}", b, a, side, side)
        if level < 5:
            add(f"{regularization}Feat.0", 128, channels, 1, 1)
        widths = (131 if level < 5 else channels + 3, 128, 128, 64, 64, 32, 32)
        for i in range(6):
            add(f"{regularization}Main.{2 * i}", widths[i + 1], widths[i], 3, 3)
        if level < 5:
            add(f"{regularization}Dist.0", taps, 32, kernel, 1)
            add(f"{regularization}Dist.1", taps, taps, 1, kernel)
        else:
            add(f"{regularization}Dist.0", taps, 32, kernel, kernel)
        add(f"{regularization}ScaleX", 1, taps, 1, 1)
        add(f"{regularization}ScaleY", 1, taps, 1, 1)
    return state
