"""What the phase of two frames says: known shifts of known signals are measured, with the right sign."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from usert.network.complex import angle as angle_of
from usert.network.phase import BLOCK, LEAST_WEIGHT, Measurement, from_channels, measure

N, M = 256, 32
FREQUENCY = 0.16


def speckle(axial: float = 0.0, lateral: float = 0.0) -> Tensor:
    """(1, 3, N, M): a sum of waves of random direction and phase about the carrier, at r - (axial, lateral)."""
    generator = torch.Generator().manual_seed(3)
    r = torch.arange(N, dtype=torch.float64)[:, None] - axial
    c = torch.arange(M, dtype=torch.float64)[None, :] - lateral
    analytic = torch.zeros(N, M, dtype=torch.complex128)
    for _ in range(60):
        f, g, phase = torch.randn(3, generator=generator, dtype=torch.float64)
        angle = 2 * math.pi * ((FREQUENCY + 0.02 * f) * r + 0.06 * g * c) + 6 * phase
        analytic += torch.exp(1j * angle)
    return torch.stack((analytic.real, analytic.abs(), analytic.imag))[None].float()


def measured(axial: float, lateral: float, given: tuple[float, float] = (0.0, 0.0)) -> Measurement:
    displacement = torch.tensor(given)[None, :, None, None].expand(1, 2, N, M).contiguous()
    return measure(from_channels(speckle(), speckle(axial, lateral)), displacement, BLOCK)


def inner(field: Tensor) -> Tensor:
    return field[..., 3:-3, 4:-4]


def test_identical_frames_measure_no_displacement() -> None:
    field, weight = measured(0.0, 0.0)
    assert field.shape == weight.shape == (1, 2, N // BLOCK, M)
    assert float(inner(field).abs().max()) < 1e-4
    assert float(weight[:, 0].median()) > 40  # 1 / SMALL_NOISE, nearly


@pytest.mark.parametrize("shift", [-0.4, 0.05, 0.3])
def test_axial_shift_is_measured_in_samples(shift: float) -> None:
    field = inner(measured(shift, 0.0).displacement)
    assert float((field[:, 0] - shift).square().mean().sqrt()) < 0.05 * abs(shift)


@pytest.mark.parametrize("shift", [-0.2, 0.2])
def test_lateral_shift_is_measured_in_lines(shift: float) -> None:
    field = inner(measured(0.3, shift).displacement)
    assert float(field[:, 1].median()) == pytest.approx(shift, rel=0.2)
    assert float(field[:, 0].median()) == pytest.approx(0.3, rel=0.05)


def test_what_is_known_already_is_added_to() -> None:
    field = inner(measured(5.2, 0.0, given=(5.0, 0.0)).displacement)
    assert float(field[:, 0].median()) == pytest.approx(5.2, abs=0.01)


def test_frequency_is_that_of_the_pulse() -> None:
    signals = from_channels(speckle(), speckle())
    assert float(signals.frequency) == pytest.approx(2 * math.pi * FREQUENCY, rel=0.03)


def test_decorrelated_echoes_weigh_little_and_silence_least() -> None:
    first, second = speckle(), speckle()
    noise = torch.randn(1, 3, N, M, generator=torch.Generator().manual_seed(1))
    second[:, :, N // 2 :] += 8 * noise[:, :, N // 2 :]
    second[:, :, :, M // 2 :] = 0
    weight = measure(from_channels(first, second), torch.zeros(1, 2, N, M), BLOCK).weight[0, 0]
    half = N // BLOCK // 2
    clean, noisy = weight[3 : half - 3, 3 : M // 2 - 3], weight[half + 3 : -3, 3 : M // 2 - 3]
    assert float(noisy.median()) < 0.2 * float(clean.median())
    assert float(weight[:, M // 2 + 4 :].max()) == pytest.approx(LEAST_WEIGHT)


def test_each_pair_of_a_batch_is_measured_for_itself() -> None:
    first = torch.cat((speckle(), speckle(1.0, 3.0)))
    second = torch.cat((speckle(0.2), speckle(0.9, 3.0)))
    together = measure(from_channels(first, second), torch.zeros(2, 2, N, M), BLOCK)
    for k in range(2):
        alone = measure(from_channels(first[k : k + 1], second[k : k + 1]), torch.zeros(1, 2, N, M), BLOCK)
        torch.testing.assert_close(together.displacement[k : k + 1], alone.displacement, atol=1e-4, rtol=0)


def test_silent_frames_measure_zero_and_carry_finite_gradients() -> None:
    silent = torch.zeros(1, 3, N, M)
    displacement = torch.zeros(1, 2, N, M, requires_grad=True)
    field, weight = measure(from_channels(silent, silent), displacement, BLOCK)
    assert float(field.detach().abs().max()) == 0.0
    (field.sum() + weight.sum()).backward()
    assert displacement.grad is not None
    assert torch.isfinite(displacement.grad).all()


def test_the_angle_is_that_of_the_arctangent() -> None:
    """All round, beside the axes, and of nothing."""
    angle = torch.linspace(-math.pi, math.pi, 4001, dtype=torch.float64)[1:-1]
    for size in (1.0, 1e4):
        signal = size * torch.stack((torch.cos(angle), torch.sin(angle))).reshape(1, 2, 1, -1)
        found = angle_of(signal.float())[0, 0, 0].double()
        assert (found - angle).abs().max() < 1e-6
    assert angle_of(torch.zeros(1, 2, 1, 1)).item() == 0
