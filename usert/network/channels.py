"""Input channels of the network from raw RF frames: RF, envelope, imaginary part (paper, 2.3).

One definition for training, export and live: it is part of the exported graph. The imaginary part is that of the
analytic signal, by a linear-phase FIR Hilbert transformer. All channels are divided by the local level of the echoes,
so that depth gain, attenuation and the scanner's units do not matter; both frames share one level, so that their
differences stay visible.

Knows nothing of the network. Invariant: multiplying both frames by one number, or adding one, changes nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ..analytic import hilbert_taps
from .depth_filter import PHASES, DepthFilter
from .grids import block_mean, interpolated

BLOCK = (32, 16)
"""Rows and lines over which the level of the echoes is averaged, before smoothing over 3 × 3 blocks."""
FLOOR = 1e-3
"""Least level, relative to the mean power of the pair: what lies 30 dB below it is not amplified further."""


class Channels(nn.Module):
    """The three input channels of each frame of a pair.

    Shapes: two (B, N, M), N and M multiples of 32, any real dtype → two (B, 3, N, M): RF, envelope, imaginary part. A
    pair without any echo gives finite numbers that mean nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hilbert = DepthFilter(hilbert_taps()[::-1].copy())  # convolution written as correlation

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        if first.shape != second.shape or first.shape[1] % PHASES or first.shape[2] % BLOCK[1]:
            raise ValueError(
                f"got {tuple(first.shape)} and {tuple(second.shape)}, expected one shape (B, N, M) with N a "
                f"multiple of {PHASES} and M of {BLOCK[1]}"
            )
        pair = torch.stack((first, second), dim=1).float()  # (B, 2, N, M)
        pair = pair - pair.mean(dim=(2, 3), keepdim=True)
        imaginary = self.hilbert(pair)
        power = pair.square() + imaginary.square()
        mean = power.mean(dim=(1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
        blocks = block_mean(power.mean(dim=1, keepdim=True), *BLOCK)
        blocks = functional.avg_pool2d(blocks, 3, 1, 1, count_include_pad=False)
        level = functional.pad(blocks, (1, 1, 1, 1), mode="replicate")
        level = interpolated(interpolated(level, BLOCK[1], 3), BLOCK[0], 2)
        # bounds, not sums: the ONNX exporter takes the addition of less than 1e-8 for nothing
        gain = torch.rsqrt((level + FLOOR * mean).clamp_min(1e-30))
        envelope = torch.sqrt(power.clamp_min(1e-30))
        stack = torch.stack((pair * gain, envelope * gain, imaginary * gain), dim=2)  # (B, 2, 3, N, M)
        return stack[:, 0], stack[:, 1]
