"""An image moved by a displacement field.

Knows arrays only. Invariant: `warp(post, d)` is `pre` where `post(r + d(r)) = pre(r)`, with d in samples along depth
and in lines across.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def warp(
    image: NDArray[Any], displacement: NDArray[Any], order: int = 5
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Sample `image` (N, M) at r + d(r): the image moved (N, M), and a mask (N, M) of where it is valid.

    `displacement` d is (2, N, M), axial in samples and lateral in lines. Along depth by Lagrange interpolation of odd
    `order` through order + 1 samples, near the ends through the outermost ones; across lines linear. With order 5 a
    sine of 0.16 cycles a sample is off by at most 0.5 %. Points outside the image, and displacements that are not
    finite, give 0 and False. Real or complex; float32 and complex64 stay so, other real types become float64.

    Errors: `ValueError` for a displacement of another shape, or an even order.
    """
    rows, lines = image.shape
    if displacement.shape != (2, rows, lines):
        raise ValueError(f"displacement: got shape {displacement.shape}, expected {(2, rows, lines)}")
    if order < 1 or order % 2 == 0:
        raise ValueError(f"order: got {order}, expected an odd number")
    if not np.iscomplexobj(image) and image.dtype != np.float32:
        image = image.astype(np.float64)
    order = min(order, rows - 1)

    axial = np.arange(rows)[:, np.newaxis] + displacement[0].astype(np.float64)
    lateral = np.arange(lines) + displacement[1].astype(np.float64)
    valid = (axial >= 0) & (axial <= rows - 1) & (lateral >= 0) & (lateral <= lines - 1)
    axial, lateral = np.where(valid, axial, 0), np.where(valid, lateral, 0)

    first = np.clip(np.floor(axial).astype(np.intp) - order // 2, 0, rows - 1 - order)
    left = np.clip(np.floor(lateral).astype(np.intp), 0, max(lines - 2, 0))
    right = np.minimum(left + 1, lines - 1)
    across = (lateral - left).astype(image.real.dtype)

    moved = np.zeros_like(image)
    for tap, weight in enumerate(_lagrange(axial - first, order)):
        row = first + tap
        between = image[row, left] * (1 - across) + image[row, right] * across
        moved += weight.astype(image.real.dtype) * between
    moved[~valid] = 0
    return moved, valid


def _lagrange(t: NDArray[np.float64], order: int) -> list[NDArray[np.float64]]:
    """Weights of the samples 0 … order for a value at `t`: Π (t - j) / (i - j) over j ≠ i."""
    weights = []
    for i in range(order + 1):
        weight = np.ones_like(t)
        for j in range(order + 1):
            if j != i:
                weight *= (t - j) / (i - j)
        weights.append(weight)
    return weights
