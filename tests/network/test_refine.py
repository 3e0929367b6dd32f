"""Refinement brings a rough displacement to the truth, and leaves a good one where it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor

from usert.errors import OptionError
from usert.network.channels import Channels
from usert.network.phase import BLOCK, Measurement, from_channels
from usert.network.refine import LEAST_STRAIN, Refinement, as_kind, on_samples, strain_of
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import Window, strain_ratio
from usert.strain import axial_strain

N, M = 512, 128
INSIDE = (slice(32, -32), slice(4, -4))


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor, Tensor]:
    """Channels of a simulated press of 1 % and its true displacement (1, 2, N, M)."""
    config = ScannerConfig(shape=(N, M), peak_strain=0.01)
    scanner, pressed = SimulatedScanner(config, seed=5), config.period_frames // 2
    first, second = (torch.from_numpy(scanner.frame(k).samples)[None].float() for k in (0, pressed))
    return (*Channels()(first, second), torch.from_numpy(scanner.truth(0, pressed)).float()[None])


def rough(truth: Tensor, seed: int = 0) -> Tensor:
    """The truth with a smooth error of about .2 samples and lines."""
    noise = torch.randn(truth.shape[0], 2, 16, 8, generator=torch.Generator().manual_seed(seed))
    return truth + 0.3 * functional.interpolate(noise, size=truth.shape[2:], mode="bilinear")


def error(estimate: Tensor, truth: Tensor, component: int = 0) -> float:
    return float((estimate - truth)[0, component][INSIDE].square().mean().sqrt())


def test_full_brings_both_components_to_the_truth(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    first, second, truth = pair
    start = rough(truth)
    refined = Refinement("full")(from_channels(first, second), start)
    assert error(start, truth) > 0.15
    assert error(refined, truth) < 0.05
    assert error(refined, truth, 1) < 0.5 * error(start, truth, 1)


def test_cheap_brings_the_axial_component_nearer_and_leaves_the_lateral_one(
    pair: tuple[Tensor, Tensor, Tensor],
) -> None:
    first, second, truth = pair
    start = rough(truth)
    refined = Refinement("cheap")(from_channels(first, second), start)
    assert error(refined, truth) < 0.6 * error(start, truth)
    torch.testing.assert_close(refined[:, 1], start[:, 1])


def test_strain_is_better_than_the_start_s_and_its_contrast_is_kept(
    pair: tuple[Tensor, Tensor, Tensor],
) -> None:
    first, second, truth = pair
    target, background = Window(rows=(206, 306), lines=(44, 84)), Window(rows=(206, 306), lines=(6, 18))
    expected = axial_strain(truth[0, 0].numpy(), 65)
    got = axial_strain(Refinement("full")(from_channels(first, second), rough(truth))[0, 0].numpy(), 65)
    assert np.sqrt(np.mean((got - expected)[INSIDE] ** 2)) < 0.15 * np.abs(expected).mean()
    assert strain_ratio(got, target, background) == pytest.approx(
        strain_ratio(expected, target, background), abs=0.08
    )


def test_a_second_round_agrees_better_where_the_start_was_far(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    first, second, truth = pair
    start = truth + torch.tensor([1.0, 0.4])[None, :, None, None]
    once, twice = (
        error(Refinement("full", rounds=k)(from_channels(first, second), start), truth) for k in (1, 2)
    )
    assert twice < once


def test_each_pair_of_a_batch_is_refined_for_itself(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    first, second, truth = pair
    starts = torch.cat((rough(truth, 1), rough(truth, 2)))
    batch = torch.cat((first, second)), torch.cat((second, first))
    starts[1] = -starts[1]
    together = Refinement("full")(from_channels(*batch), starts)
    for k in range(2):
        alone = Refinement("full")(from_channels(batch[0][k : k + 1], batch[1][k : k + 1]), starts[k : k + 1])
        torch.testing.assert_close(together[k : k + 1], alone, atol=2e-3, rtol=0)


@pytest.mark.parametrize("kind", ["cheap", "full"])
def test_frames_without_echoes_leave_the_displacement_finite(kind: str) -> None:
    silent = torch.zeros(1, 3, 64, 32)
    start = torch.randn(1, 2, 64, 32, generator=torch.Generator().manual_seed(0))
    refined = Refinement(as_kind(kind, "kind"))(from_channels(silent, silent), start)  # type: ignore[arg-type]
    assert torch.isfinite(refined).all()
    assert float(refined.abs().max()) < 10


def test_gradients_reach_the_start(pair: tuple[Tensor, Tensor, Tensor]) -> None:
    first, second, truth = pair
    start = rough(truth).requires_grad_()
    (Refinement("full")(from_channels(first, second), start) - truth).square().mean().backward()
    assert start.grad is not None
    assert torch.isfinite(start.grad).all()
    assert float(start.grad.abs().max()) > 0


def test_grid_becomes_samples_along_straight_lines() -> None:
    at = (torch.arange(6) + 0.5) * BLOCK - 0.5  # the middle of each block
    field = (0.25 * at - 3)[None, None, :, None].expand(1, 1, 6, 4)
    samples = on_samples(field, BLOCK)
    expected = (0.25 * torch.arange(48) - 3)[None, None, :, None].expand(1, 1, 48, 4)
    torch.testing.assert_close(samples, expected, atol=1e-4, rtol=0)


def test_strain_of_a_press_is_found_and_never_zero() -> None:
    r = torch.arange(40)[None, None, :, None].expand(1, 2, 40, 16) * float(BLOCK)
    weight = torch.ones(1, 2, 40, 16)
    pressed = strain_of(Measurement(-0.02 * r, weight), BLOCK)
    assert float(pressed) == pytest.approx(0.02, rel=0.1)
    assert float(strain_of(Measurement(0 * r, weight), BLOCK)) == pytest.approx(LEAST_STRAIN)


def test_an_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(OptionError, match=r"^--refinement: got 'much', expected off, cheap, full$"):
        as_kind("much", "--refinement")
    with pytest.raises(ValueError, match="kind: got 'off', expected cheap or full"):
        Refinement("off")  # type: ignore[arg-type]


def test_frames_and_displacement_must_fit() -> None:
    silent = torch.zeros(1, 3, 64, 32)
    with pytest.raises(ValueError, match=r"got signals \(1, 2, 64, 32\) and displacement \(1, 2, 32, 32\)"):
        Refinement("full")(from_channels(silent, silent), torch.zeros(1, 2, 32, 32))
