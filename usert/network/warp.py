"""A feature map sampled at the points of a flow.

Knows nothing of pyramid levels or units. Invariant: zero flow returns the map unchanged. Coordinates stay in float32
whatever the maps are, since half precision moves a sample by .06 beyond column 64.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as functional
from torch import Tensor


def warp(
    image: Tensor, flow: Tensor, *, step: int = 1, outside: Literal["zeros", "border"] = "zeros"
) -> Tensor:
    """Sample `image` at r + flow(r), bilinear, at every `step`-th pixel of both axes.

    Shapes: (B, C, H, W), flow (B, 2, H, W) with channel 0 across lines and 1 along depth, in pixels → (B, C, H / step,
    W / step). Outside the map the value is 0, or with `outside` "border" that of the nearest pixel. Errors:
    `ValueError` for a flow of another shape.
    """
    if image.shape[0] != flow.shape[0] or image.shape[2:] != flow.shape[2:] or flow.shape[1] != 2:
        raise ValueError(
            f"got {tuple(image.shape)} and {tuple(flow.shape)}, expected (B, C, H, W) and (B, 2, H, W)"
        )
    height, width = image.shape[2], image.shape[3]
    flow = flow[:, :, ::step, ::step].float()
    # arange, not linspace: linspace breaks graphs with dynamic shapes
    x = torch.arange(0, width, step, device=flow.device, dtype=torch.float32)
    y = torch.arange(0, height, step, device=flow.device, dtype=torch.float32)
    column = (x[None, None, None, :] + flow[:, 0:1] + 0.5) * (2.0 / width) - 1.0
    row = (y[None, None, :, None] + flow[:, 1:2] + 0.5) * (2.0 / height) - 1.0
    grid = torch.cat((column, row), dim=1).permute(0, 2, 3, 1)
    return functional.grid_sample(image.float(), grid, padding_mode=outside, align_corners=False).to(
        image.dtype
    )
