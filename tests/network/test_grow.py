"""A level more, without a jump."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from usert.network.grow import grow
from usert.network.liteflownet import Level, LiteFlowNet


def moving(finest: int) -> LiteFlowNet:
    """A network that says .2 across and .5 along depth at its coarsest level, and next to nothing below."""
    torch.manual_seed(0)
    made = LiteFlowNet(finest=finest).eval()
    level = made.levels["6"]
    assert isinstance(level, Level)
    last = level.matching.head[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    with torch.no_grad():
        last.bias.copy_(torch.tensor((0.2, 0.5)))
    return made


def images() -> tuple[Tensor, Tensor]:
    first, second = torch.randn(2, 1, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    return first, second


@pytest.mark.parametrize(("before", "after"), [(5, 4), (4, 3), (3, 2), (4, 2), (3, 3)])
@torch.no_grad()
def test_coarser_levels_are_unchanged_and_the_new_one_starts_close(before: int, after: int) -> None:
    coarse = moving(before)
    grown = grow(coarse, after).eval()
    assert grown.finest == after
    old, new = coarse.cascade(*images()), grown.cascade(*images())
    for a, b in zip(old, new, strict=False):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    size = new[-1][2].shape[2:]
    expected = functional.interpolate(old[-1][2], size=(size[0], size[1]), mode="bilinear")
    inside = (..., slice(size[0] // 4, -size[0] // 4), slice(size[1] // 4, -size[1] // 4))
    # S reads features of another width, so its first layer starts from random weights
    assert (new[-1][2] - expected)[inside].square().mean().sqrt() < 0.05 * expected[inside].abs().max()


@torch.no_grad()
def test_a_copy_has_the_coarser_taps_in_its_middle_at_half_the_reach() -> None:
    coarse = moving(3)
    old, new = coarse.levels["3"], grow(coarse, 2).levels["2"]
    assert isinstance(old, Level)
    assert isinstance(new, Level)
    before, after = old.matching.head[-1], new.matching.head[-1]
    assert isinstance(before, nn.Conv2d)
    assert isinstance(after, nn.Conv2d)
    assert torch.equal(after.weight, functional.pad(0.5 * before.weight, (1, 1, 1, 1)))
    assert torch.equal(new.matching.head[0].weight, old.matching.head[0].weight)  # type: ignore[arg-type]


@torch.no_grad()
def test_the_grown_local_convolution_weighs_the_old_neighbours_alike() -> None:
    coarse = moving(3)
    old, new = coarse.levels["3"], grow(coarse, 2).levels["2"]
    assert isinstance(old, Level)
    assert isinstance(new, Level)
    inside = torch.randn(1, 32, 20, 20, generator=torch.Generator().manual_seed(2))
    distance, grown = old.regularization.distance(inside), new.regularization.distance(inside)
    kept = [7 * row + column for row in range(1, 6) for column in range(1, 6)]
    assert torch.allclose(grown[:, kept], distance, atol=1e-5)
    far = [tap for tap in range(49) if tap not in kept]
    assert torch.allclose(grown[:, far], torch.full((1, 24, 20, 20), 2.5))


def test_a_network_is_not_made_coarser() -> None:
    with pytest.raises(ValueError, match="finest: got 4, expected at most 3"):
        grow(LiteFlowNet(finest=3), 4)
