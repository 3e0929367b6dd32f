"""A long filter along depth, as one small matrix product a block.

A plain convolution with one channel wastes a matrix unit. Here the rows are cut into blocks of P, and a
block of P outputs is a dense P × P matrix times its own block plus those of its neighbours: the same sums,
in polyphase form.

Knows nothing of what the taps are for. Invariant: equals the plain correlation
y[n] = Σ_j taps[j] · x[n + j - (L - 1) / 2], zero outside the frame.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor, nn

PHASES = 32
"""Rows a block; frames are padded to a multiple of it anyway."""


class DepthFilter(nn.Module):
    """Correlation of every line with fixed taps.

    Shapes: (B, C, N, M) → (B, C, N, M), N a multiple of 32; `taps` (L,), L odd. Errors: `ValueError` for others.
    """

    matrix: Tensor

    def __init__(self, taps: NDArray[np.float64]) -> None:
        super().__init__()
        if taps.ndim != 1 or len(taps) % 2 == 0:
            raise ValueError(f"taps: got shape {taps.shape}, expected an odd number of them in one row")
        centre = len(taps) // 2
        self.reach = -(-(centre + PHASES - 1) // PHASES)
        matrix = np.zeros((PHASES, PHASES, 2 * self.reach + 1, 1), dtype=np.float32)
        for block in range(-self.reach, self.reach + 1):
            for source in range(PHASES):
                for target in range(PHASES):
                    j = PHASES * block + source - target + centre
                    if 0 <= j < len(taps):
                        matrix[target, source, block + self.reach, 0] = taps[j]
        self.register_buffer("matrix", torch.from_numpy(matrix), persistent=False)

    def forward(self, image: Tensor, across: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Filter `image`, then apply `across`, which must treat each row by itself.

        `across` sees the rows as channels, where a runtime pools over lines several times faster.
        """
        batch, channels, rows, lines = image.shape
        if rows % PHASES:
            raise ValueError(f"got {tuple(image.shape)}, expected rows in a multiple of {PHASES}")
        blocks = image.reshape(batch * channels, -1, PHASES, lines).transpose(1, 2)
        filtered = functional.conv2d(blocks, self.matrix.to(image.dtype), padding=(self.reach, 0))
        if across is not None:
            filtered = across(filtered)
        return filtered.transpose(1, 2).reshape(batch, channels, rows, lines)
