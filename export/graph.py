"""The whole of a pair in one graph: scanner samples in, picture out.

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

from usert.network.channels import Channels
from usert.network.depth_filter import DepthFilter
from usert.network.liteflownet import MULTIPLE, LiteFlowNet
from usert.network.refine import Refinement, RefinementKind
from usert.network.warp import warp
from usert.strain import least_squares_taps

QUALITY_WINDOW = (65, 5)
"""Rows and lines over which the correlation is formed."""
QUIET = 1e-3
"""Power, of an echo level of 1, of windows whose correlation is halved; far below it there is none."""


class StrainGraph(nn.Module):
    """Reference and current frame to displacement, strain and quality.

    Shapes: two int16 (N, M), N at least the strain window → displacement float32 (2, N, M), strain float32 (N, M),
    quality float32 (N, M).
    """

    def __init__(
        self, network: LiteFlowNet, *, strain_window: int, refinement: RefinementKind = "off"
    ) -> None:
        super().__init__()
        if strain_window < 3 or strain_window % 2 == 0:
            raise ValueError(f"strain_window: got {strain_window}, expected an odd number of samples from 3")
        self.channels = Channels()
        self.network = network
        self.refinement = None if refinement == "off" else Refinement(refinement)
        self.strain = Strain(strain_window)
        self.correlation = LocalCorrelation(QUALITY_WINDOW)

    def forward(self, reference: Tensor, current: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows, lines = reference.shape
        frames = torch.stack((reference, current)).float()
        frames = frames - frames.mean(dim=(1, 2), keepdim=True)
        frames = functional.pad(frames, (0, -lines % MULTIPLE, 0, -rows % MULTIPLE))
        first, second = self.channels(frames[0:1], frames[1:2])
        displacement = self.network(first, second)
        if self.refinement is not None:
            displacement = self.refinement(first, second, displacement)
        strain = self.strain(displacement[:, 0:1], rows)
        quality = self.correlation(first[:, 0:1], warp(second[:, 0:1], displacement.flip(1)))
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
    """Normalised correlation in a window round each sample, clipped to 0 … 1; RF has no mean to subtract.

    Frames come at a level of about 1 (`Channels`); where nothing echoes, such as a masked corner, it is 0.

    Shapes: two (1, 1, N, M) → (1, 1, N, M).
    """

    def __init__(self, window: tuple[int, int]) -> None:
        super().__init__()
        self.rows = DepthFilter(np.ones(window[0]) / window[0])
        self.lines = nn.AvgPool2d((1, window[1]), 1, (0, window[1] // 2))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        products = torch.cat((first * second, first * first, second * second), dim=1)
        sums = self.lines(self.rows(products))
        quality: Tensor = sums[:, 0:1] / torch.sqrt(sums[:, 1:2] * sums[:, 2:3] + QUIET**2)
        return quality.clamp(0.0, 1.0)
