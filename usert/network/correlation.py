"""Correlation of two feature maps over a small square of displacements, as banded matrix products.

One product per row offset: the lines are cut into tiles of T, and each tile of the first map is multiplied
with the tiles of the second that it can reach. The wanted values are the diagonals of those products;
padding each product by one row and reading it with rows one longer turns the diagonals into columns. No
loops or gathers in the exported graph, any frame width, and matrix units do the work.

Knows nothing of flow. Invariant: equals the mean over channels of the products at each displacement, zero
outside the frame (`tests/network/test_correlation.py` holds it against brute force).
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

RADIUS = 3
"""Largest displacement in feature samples; (2·3 + 1)² = 49 channels (Hui et al. 2018, supplementary)."""


def correlation(first: Tensor, second: Tensor, *, tile: int) -> Tensor:
    """Cost volume of `first` against `second`, in tiles of `tile` lines.

    Shapes: two (B, C, H, W), W a multiple of `tile` → (B, 49, H, W); channel 7·(dy + 3) + (dx + 3) holds mean_c
    first[c, y, x] · second[c, y + dy, x + dx]. Errors: `ValueError` for other shapes.
    """
    if first.shape != second.shape or first.shape[3] % tile:
        raise ValueError(
            f"got {tuple(first.shape)} and {tuple(second.shape)}, "
            f"expected one shape (B, C, H, W) with W a multiple of {tile}"
        )
    batch, channels, height, width = first.shape
    span, tiles = 2 * RADIUS + 1, width // tile
    extra = -(-(tile + 2 * RADIUS) // tile)  # tiles, its own included, that a tile touches in the second map
    reach = extra * tile  # whole tiles: to cut what is never read costs more than its products
    # lines before channels: what is joined, cut and turned is whole rows of channels
    left = first.permute(0, 2, 3, 1).reshape(batch, height, tiles, tile, channels) * (1.0 / channels)
    padded = functional.pad(second, (RADIUS, reach - tile - RADIUS, RADIUS, RADIUS)).permute(0, 2, 3, 1)
    blocks = padded.reshape(batch, height + 2 * RADIUS, tiles + extra - 1, tile, channels)
    right = torch.cat([blocks[:, :, k : k + tiles] for k in range(extra)], dim=3).transpose(3, 4)
    rows = []
    for dy in range(span):
        product = torch.matmul(left, right[:, dy : dy + height])  # (B, H, tiles, T, reach)
        flat = functional.pad(product.reshape(batch, height, tiles, tile * reach), (0, tile))
        band = flat.reshape(batch, height, tiles, tile, reach + 1)[..., :span]
        rows.append(band.reshape(batch, 1, height, width, span))
    return torch.cat(rows, dim=1).permute(0, 1, 4, 2, 3).reshape(batch, span * span, height, width)
