"""Sampling by flow, on maps whose answer is known."""

from __future__ import annotations

import pytest
import torch

from usert.network.warp import warp


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_no_flow_gives_the_map_back() -> None:
    image = noise(2, 3, 12, 20)
    assert torch.allclose(warp(image, torch.zeros(2, 2, 12, 20)), image, atol=1e-5)


def test_a_whole_pixel_shift_and_zeros_from_outside() -> None:
    image = noise(1, 2, 10, 14)
    flow = torch.zeros(1, 2, 10, 14)
    flow[:, 0], flow[:, 1] = 3, -2  # three lines over, two rows up
    expected = torch.zeros_like(image)
    expected[:, :, 2:, :-3] = image[:, :, :-2, 3:]
    assert torch.allclose(warp(image, flow), expected, atol=1e-5)


def test_step_two_gives_the_even_pixels() -> None:
    image, flow = noise(1, 4, 12, 16), 2 * noise(1, 2, 12, 16)
    assert torch.allclose(warp(image, flow, step=2), warp(image, flow)[:, :, ::2, ::2], atol=1e-6)


def test_each_pair_of_a_batch_has_its_own_flow() -> None:
    image, flow = noise(2, 3, 12, 16), 2 * noise(2, 2, 12, 16)
    both = warp(image, flow)
    for i in range(2):
        assert torch.equal(both[i : i + 1], warp(image[i : i + 1], flow[i : i + 1]))
    assert not torch.allclose(both[0], warp(image[:1], flow[1:])[0])


def test_an_affine_field_on_a_linear_image_is_exact() -> None:
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(48.0), indexing="ij")
    image = (2 * y - 3 * x)[None, None]
    flow = torch.stack((0.03 * x - 0.01 * y, 0.02 * y + 0.5))[None]  # lateral, axial
    expected = 2 * (y + flow[0, 1]) - 3 * (x + flow[0, 0])
    inside = (slice(2, -3), slice(2, -3))
    assert torch.allclose(warp(image, flow)[0, 0][inside], expected[inside], atol=2e-3)


def test_half_precision_maps_keep_exact_coordinates() -> None:
    image = torch.arange(2048.0).repeat(2, 1)[None, None].to(torch.bfloat16)
    flow = torch.zeros(1, 2, 2, 2048)
    flow[:, 0] = 1
    assert torch.equal(warp(image, flow)[..., :-1], image[..., 1:])


@pytest.mark.parametrize("shape", [(1, 2, 8, 9), (2, 2, 8, 8), (1, 3, 8, 8)])
def test_shapes_that_do_not_fit_are_both_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"got \(1, 5, 8, 8\) and \(\d, \d, 8, \d\)"):
        warp(torch.zeros(1, 5, 8, 8), torch.zeros(shape))
