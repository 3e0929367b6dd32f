"""The banded matrix products against a sum written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from usert.network.correlation import RADIUS, correlation
from usert.network.liteflownet import TILE


def brute_force(first: Tensor, second: Tensor) -> Tensor:
    """Mean over channels of the products at each displacement, rows of the square first."""
    batch, _, height, width = first.shape
    out = torch.zeros(batch, (2 * RADIUS + 1) ** 2, height, width, dtype=first.dtype)
    for y in range(height):
        for x in range(width):
            channel = 0
            for dy in range(-RADIUS, RADIUS + 1):
                for dx in range(-RADIUS, RADIUS + 1):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        product = first[:, :, y, x] * second[:, :, y + dy, x + dx]
                        out[:, channel, y, x] = product.mean(1)
                    channel += 1
    return out


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("tile", sorted(set(TILE.values())))
@pytest.mark.parametrize("width", [8, 24])
def test_equals_brute_force(batch: int, tile: int, width: int) -> None:
    torch.manual_seed(tile)
    first, second = torch.randn(2, batch, 5, 6, width, dtype=torch.float64)
    assert torch.allclose(correlation(first, second, tile=tile), brute_force(first, second), atol=1e-14)


def test_a_shift_down_and_right_peaks_in_its_own_channel() -> None:
    torch.manual_seed(0)
    first = torch.randn(1, 32, 16, 16)
    second = first.roll((2, -1), dims=(2, 3))  # second[y + 2, x - 1] = first[y, x]
    cost = correlation(first, second, tile=4)[:, :, 4:-4, 4:-4]
    assert (cost.argmax(1) == 7 * (2 + 3) + (-1 + 3)).all()


@pytest.mark.parametrize("tile", [1, 4])
def test_gradients(tile: int) -> None:
    torch.manual_seed(0)
    first = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    second = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda a, b: correlation(a, b, tile=tile), (first, second), fast_mode=True
    )


@pytest.mark.parametrize("shape", [(1, 3, 4, 10), (1, 3, 4, 12)])
def test_shapes_that_do_not_fit_are_both_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"got \(1, 3, 4, \d+\) and \(1, 3, 4, 10\)"):
        correlation(torch.zeros(shape), torch.zeros(1, 3, 4, 10), tile=4)
