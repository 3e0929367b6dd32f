"""Angles and unit numbers against numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from usert.network.complex import angle, cosine, sine, turn


@pytest.mark.parametrize("furthest", [0.01, 4.0, 100.0, 6000.0])
def test_sine_and_cosine_are_right_to_the_last_digits(furthest: float) -> None:
    at = torch.linspace(-furthest, furthest, 100_001)
    exact = at.double().numpy()
    assert np.abs(sine(at).numpy() - np.sin(exact)).max() < 3e-7
    assert np.abs(cosine(at).numpy() - np.cos(exact)).max() < 3e-7


def test_no_turn_is_1() -> None:
    assert turn(torch.zeros(1, 1, 1)).flatten().tolist() == pytest.approx([1.0, 0.0], abs=3e-7)


def test_the_angle_of_a_turn_is_the_angle() -> None:
    at = torch.linspace(-3.1, 3.1, 1001).reshape(1, 1, -1)
    assert torch.allclose(angle(turn(at)), at, atol=2e-6)


def test_the_slope_of_the_sine_is_the_cosine() -> None:
    at = torch.linspace(-10, 10, 997, requires_grad=True)
    (slope,) = torch.autograd.grad(sine(at).sum(), at)
    assert torch.allclose(slope, torch.cos(at), atol=1e-5)
