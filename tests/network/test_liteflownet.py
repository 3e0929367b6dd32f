"""The network: its size, its shapes, its conventions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from usert.network.liteflownet import FLOW_SCALE, Level, LiteFlowNet


def network(seed: int = 0, *, finest: int = 2, spread: float = 1.0, normalise: bool = True) -> LiteFlowNet:
    """Random weights; `spread` raises the last convolutions, whose first weights are next to nothing."""
    torch.manual_seed(seed)
    made = LiteFlowNet(finest=finest, normalise_features=normalise).eval()
    with torch.no_grad():
        for level in made.levels.values():
            assert isinstance(level, Level)
            for head in (level.matching.head[-1], level.subpixel.head[-1]):
                assert isinstance(head, nn.Conv2d)
                head.weight.mul_(spread)
    return made


def images(seed: int, batch: int = 1, shape: tuple[int, int] = (64, 64)) -> tuple[Tensor, Tensor]:
    first, second = torch.randn(2, batch, 3, *shape, generator=torch.Generator().manual_seed(seed))
    return first, second


def test_has_as_many_parameters_as_the_published_network() -> None:
    assert sum(parameter.numel() for parameter in LiteFlowNet().parameters()) == 5_379_857


@pytest.mark.parametrize("finest", [2, 3, 4])
@torch.no_grad()
def test_shapes(finest: int) -> None:
    first, second = images(0, shape=(128, 64))
    net = network(finest=finest)
    outputs = net.cascade(first, second)
    sizes = [tuple(output[2].shape) for output in outputs]
    assert sizes == [(1, 2, 128 >> (level - 1), 64 >> (level - 1)) for level in range(6, finest - 1, -1)]
    assert all(stage.shape == output[2].shape for output in outputs for stage in output)
    assert net(first, second).shape == (1, 2, 128, 64)


def test_levels_below_the_finest_have_no_weights() -> None:
    names = [name for name, _ in LiteFlowNet(finest=4).named_parameters()]
    assert not [name for name in names if name.startswith(("levels.2", "levels.3"))]


@pytest.mark.parametrize("normalise", [True, False])
@torch.no_grad()
def test_a_batch_of_two_equals_two_of_one(normalise: bool) -> None:
    first, second = images(1, batch=2)
    first[1] *= 3  # another content and another level
    net = network(spread=10, normalise=normalise)
    both = net(first, second)
    assert both.std() > 0.1  # there is something to compare
    for i in range(2):
        alone = net(first[i : i + 1], second[i : i + 1])
        assert torch.allclose(both[i : i + 1], alone, atol=1e-3 * float(both.std()))
    assert not torch.allclose(both[0], both[1], atol=1e-2)


@torch.no_grad()
def test_displacement_is_axial_first_in_samples() -> None:
    """A network that says the same everywhere at level 6, and nothing more below."""
    lateral, axial = 0.25, -0.5
    net = network(finest=4)
    for name, level in net.levels.items():
        assert isinstance(level, Level)
        for head in (level.matching.head[-1], level.subpixel.head[-1]):
            assert isinstance(head, nn.Conv2d)
            assert head.bias is not None
            head.weight.zero_()
            if name == "6" and head is level.matching.head[-1]:
                head.bias.copy_(torch.tensor((lateral, axial)))
    displacement = net(*images(2, shape=(512, 512)))
    middle = displacement[0, :, 254:258, 254:258].mean((1, 2))  # away from the edges, where R sees zeros
    expected = torch.tensor((axial, lateral)) * FLOW_SCALE
    assert torch.allclose(middle, expected, atol=0.02 * FLOW_SCALE)


@torch.no_grad()
def test_matching_finds_the_axis_along_which_the_image_moved() -> None:
    """A matching unit made by hand: it gives the offset of the best channel of the cost volume."""
    level = network().levels["4"]
    assert isinstance(level, Level)
    matching = level.matching
    head = [layer for layer in matching.head if isinstance(layer, nn.Conv2d)]
    for layer in head:
        layer.weight.zero_()
        assert layer.bias is not None
        layer.bias.zero_()
    offsets = torch.arange(49)
    lateral, axial = (offsets % 7 - 3).float(), (offsets // 7 - 3).float()
    centre = head[0].kernel_size[0] // 2
    # positive and negative offsets in channels of their own, so that the rectifiers let both through
    for channel, weight in enumerate(
        (lateral.clamp(min=0), (-lateral).clamp(min=0), axial.clamp(min=0), (-axial).clamp(min=0))
    ):
        head[0].weight[channel, :, centre, centre] = weight
        for layer in head[1:3]:
            layer.weight[channel, channel, 1, 1] = 1
    middle = head[3].kernel_size[0] // 2
    head[3].weight[0, :2, middle, middle] = torch.tensor((1.0, -1.0))
    head[3].weight[1, 2:4, middle, middle] = torch.tensor((1.0, -1.0))

    first = torch.randn(1, 96, 16, 16, generator=torch.Generator().manual_seed(3))
    for name, shift in (("down", (2, 0)), ("right", (0, 3)), ("up and left", (-1, -2))):
        second = first.roll(shift, dims=(2, 3))  # second(r + shift) = first(r)
        flow = matching(first, second, None)[0, :, 4:-4, 4:-4].mean((1, 2))
        assert torch.allclose(flow, torch.tensor((float(shift[1]), float(shift[0]))), atol=0.4), name


@pytest.mark.parametrize("shapes", [((1, 3, 64, 72), (1, 3, 64, 72)), ((1, 3, 64, 64), (1, 3, 64, 96))])
def test_shapes_that_do_not_fit_are_both_named(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"got \(1, 3, 64, \d\d\) and \(1, 3, 64, \d\d\).*multiples of 32"):
        LiteFlowNet(finest=4)(torch.zeros(shapes[0]), torch.zeros(shapes[1]))


@pytest.mark.parametrize("finest", [1, 7])
def test_a_level_that_does_not_exist_is_refused(finest: int) -> None:
    with pytest.raises(ValueError, match=f"finest: got {finest}, expected one of"):
        LiteFlowNet(finest=finest)


@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_reach_every_parameter(autocast: bool) -> None:
    net = network(spread=300).train()
    first, second = images(4)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        outputs = net.cascade(first, second)
    assert all(stage.dtype == torch.float32 for output in outputs for stage in output)
    sum(stage.square().sum() for output in outputs for stage in output).backward()  # type: ignore[union-attr]
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
