"""One graph for a whole pair, for the front end `rf`: scanner samples in, picture out.

    (reference, current) → displacement, strain, quality

Analytic signal, level of the echoes, network, refinement, warp, strain derivative and correlation are all inside, so
that a runtime needs no signal processing of its own: one upload, one download. Knows nothing of ONNX. Invariant: any
frame shape gives outputs of that shape; the strain never sees the rows that padding added.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from usert.front_end import FrontEnd
from usert.network.depth_filter import DepthFilter
from usert.network.liteflownet import MULTIPLE, LiteFlowNet
from usert.network.motion import RfMotion
from usert.network.refine import RefinementKind
from usert.network.warp import warp
from usert.strain import least_squares_taps

QUALITY_WINDOW = (65, 5)
"""Rows and lines over which the correlation is formed."""
QUIET = 1e-7
"""Power, of a mean of 1, below which windows lose their correlation: 70 dB down."""


class StrainGraph(nn.Module):
    """The graph from reference and current frame to displacement, strain and quality, for the front end `rf`.

    Shapes: two int16 (N, M), N at least the strain window → displacement float32 (2, N, M), strain float32 (N, M),
    quality float32 (N, M).
    """

    front_end: FrontEnd = "rf"

    def __init__(
        self, network: LiteFlowNet, *, strain_window: int, refinement: RefinementKind = "off"
    ) -> None:
        super().__init__()
        if strain_window < 3 or strain_window % 2 == 0:
            raise ValueError(f"strain_window: got {strain_window}, expected an odd number of samples from 3")
        self.motion = RfMotion(network, refinement)
        self.strain = Strain(strain_window)
        self.correlation = LocalCorrelation(QUALITY_WINDOW)

    def forward(self, reference: Tensor, current: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, lines = reference.shape
        frames = torch.stack((reference, current)).float()
        frames = frames - frames.mean(dim=(1, 2), keepdim=True)
        padding = (0, -lines % MULTIPLE, 0, -rows % MULTIPLE)
        frames = functional.pad(frames, padding)
        displacement = self.motion(frames[0:1], frames[1:2])
        strain = self.strain(displacement[:, 0:1], rows)
        down = functional.pad(torch.ones_like(reference[:, :1], dtype=torch.float32), (0, 0, *padding[2:]))
        over = functional.pad(torch.ones_like(reference[:1], dtype=torch.float32), padding[:2])
        # not the channels: their gain turns the constant of a masked corner into a ramp, which correlates
        power = frames.square().mean(dim=(1, 2), keepdim=True).clamp_min(1e-30)
        plain = (frames * torch.rsqrt(power))[:, None]
        quality = self.correlation(
            plain[0:1],
            warp(plain[1:2], torch.cat((displacement[:, 1:2], displacement[:, 0:1]), dim=1)),
            down,
            over,
        )
        return displacement[0, :, :rows, :lines], strain[0, 0, :, :lines], quality[0, 0, :rows, :lines]


class Strain(nn.Module):
    """Axial strain by least squares, as `usert.strain.axial_strain`: near an end, the whole window at that end.

    Shapes: axial displacement (1, 1, N, M), N a multiple of 32, of which `rows` count → strain (1, 1, rows, M).
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.margin = window // 2
        self.slope = DepthFilter(least_squares_taps(window))

    def forward(self, axial: Tensor, rows: int) -> Tensor:
        inner = self.slope(axial)[:, :, self.margin : rows - self.margin]
        return -functional.pad(inner, (0, 0, self.margin, self.margin), mode="replicate")


class LocalCorrelation(nn.Module):
    """Zero-mean normalised correlation in a window about each sample, clipped to 0 … 1.

    Frames have a mean power of 1. Where there is no echo it is 0, in a masked corner too, which an offset of the frame
    fills with a constant. Windows are cut at the border of the rows and lines that count.

    Shapes: two (1, 1, N, M), N a multiple of 32, then (N, 1) and (1, M), 1 for rows and lines that count, else 0 → (1,
    1, N, M).
    """

    def __init__(self, window: tuple[int, int]) -> None:
        super().__init__()
        self.rows = DepthFilter(np.ones(window[0]) / window[0])
        self.lines = nn.AvgPool2d((1, window[1]), 1, (0, window[1] // 2))

    def forward(self, first: Tensor, second: Tensor, down: Tensor, over: Tensor) -> Tensor:
        products = torch.cat((first * second, first * first, second * second, first, second), dim=1)
        sums = self.rows(products * down * over, across=self.lines)
        means = (
            sums / self.rows(down[None, None]).clamp_min(1e-6) / self.lines(over[None, None]).clamp_min(1e-6)
        )
        a, b = means[:, 3:4], means[:, 4:5]
        power = (means[:, 1:2] - a * a).clamp_min(0.0) * (means[:, 2:3] - b * b).clamp_min(0.0)
        quality: Tensor = (means[:, 0:1] - a * b) / torch.sqrt(power.clamp_min(QUIET**2))
        return quality.clamp(0.0, 1.0)
