"""Each term of the unsupervised loss by what its equation says of fields whose answer is known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from usert.errors import RecipeError
from usert.network.channels import Channels
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.train.finetune.loss_config import LossConfig
from usert.train.finetune.unsupervised import (
    charbonnier,
    correlation_loss,
    data_loss,
    derivative,
    first_order,
    incompressibility,
    masked_mean,
    outlier_mask,
    second_order,
    unsupervised_loss,
    warp_frame,
)

PHI: dict[str, Any] = {"gamma": 0.2, "epsilon": 1e-8}
FLOOR = 1e-8**0.2
"""What Φ costs at 0."""
STEP = 2


def affine(axial: tuple[float, float, float], lateral: tuple[float, float, float], batch: int = 1) -> Tensor:
    """Displacement (B, 2, 24, 16) on a grid of every second sample: a + b · row + c · line, full-grid units."""
    row, line = torch.meshgrid(
        STEP * torch.arange(24, dtype=torch.float64),
        STEP * torch.arange(16, dtype=torch.float64),
        indexing="ij",
    )
    field = torch.stack([a + b * row + c * line for a, b, c in (axial, lateral)])
    return field.expand(batch, -1, -1, -1).clone()


def ones(like: Tensor) -> Tensor:
    return torch.ones_like(like[:, :1])


def test_the_penalty_is_the_printed_one() -> None:
    x = torch.tensor([-2.0, 0.0, 0.5])
    expected = [(v * v + 0.01) ** 0.2 for v in x.tolist()]
    assert charbonnier(x, gamma=0.2, epsilon=0.01).tolist() == pytest.approx(expected)


def test_the_mean_is_of_what_the_mask_keeps() -> None:
    values = torch.tensor([[[[1.0, 100.0], [3.0, float(2)]]]])
    mask = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    assert masked_mean(values, mask).item() == 2.0
    assert masked_mean(values, torch.zeros_like(mask)).item() == 0.0
    assert masked_mean(values.expand(1, 3, 2, 2), mask).item() == 2.0


@pytest.mark.parametrize("batch", [1, 2])
def test_derivatives_are_per_sample_and_per_line_of_the_full_grid(batch: int) -> None:
    field = affine((3.0, -0.02, 0.004), (0, 0, 0), batch)[:, :1]
    for span in (1, 2, 6):
        for axis, slope in ((2, -0.02), (3, 0.004)):
            found, mask = derivative(field, ones(field), axis=axis, step=STEP, span=span)
            torch.testing.assert_close(found, torch.full_like(found, slope))
            assert mask.min() == 1


def test_a_derivative_counts_only_where_both_ends_are_believed() -> None:
    field = affine((0, 0, 0), (0, 0, 0))[:, :1]
    mask = ones(field)
    mask[0, 0, 10, 3] = 0
    _, both = derivative(field, mask, axis=2, step=STEP, span=1)
    assert torch.nonzero(both[0, 0] == 0).tolist() == [[9, 3], [10, 3]]


def test_uniform_strain_costs_no_first_order_smoothness() -> None:
    for strain in (0.0, 0.01, -0.05):
        field = affine((5.0, -strain, 0.003), (0, 0, 0), 2)[:, :1]
        for axis in (2, 3):
            cost = first_order(field, ones(field), axis=axis, step=STEP, span=1, **PHI)
            assert cost.item() == pytest.approx(FLOOR, rel=1e-6)


def test_each_pair_has_its_own_mean_derivative() -> None:
    field = torch.cat((affine((0, -0.01, 0), (0, 0, 0)), affine((0, -0.04, 0), (0, 0, 0))))[:, :1]
    cost = first_order(field, ones(field), axis=2, step=STEP, span=1, **PHI)
    assert cost.item() == pytest.approx(FLOOR, rel=1e-6)


def test_first_order_is_equation_5_by_hand() -> None:
    field = torch.zeros(1, 1, 4, 1, dtype=torch.float64)
    field[0, 0, :, 0] = torch.tensor([0.0, -0.2, -0.2, -0.8])
    slopes = np.array([-0.1, 0.0, -0.3])
    expected = np.mean(((slopes - slopes.mean()) ** 2 + 1e-8) ** 0.2)
    cost = first_order(field, ones(field), axis=2, step=STEP, span=1, **PHI)
    assert cost.item() == pytest.approx(float(expected))


def test_affine_motion_costs_no_second_order_smoothness_and_a_bend_does() -> None:
    field = affine((5.0, -0.02, 0.01), (0, 0, 0))[:, :1]
    cost = second_order(field, ones(field), axis=2, step=STEP, span=1, **PHI)
    assert cost.item() == pytest.approx(FLOOR, rel=1e-6)
    rows = STEP * torch.arange(24, dtype=torch.float64)
    bent = field + 1e-3 * rows[None, None, :, None] ** 2  # second derivative 2e-3 a sample²
    cost = second_order(bent, ones(bent), axis=2, step=STEP, span=1, **PHI)
    assert cost.item() == pytest.approx((4e-6 + 1e-8) ** 0.2, rel=1e-6)


def test_what_shortens_and_widens_alike_is_incompressible() -> None:
    flow = affine((0, -0.02, 0), (0, 0, 0.02))
    cost = incompressibility(flow, ones(flow), step=STEP, span=1, **PHI)
    assert cost.item() == pytest.approx(FLOOR, rel=1e-6)
    flow = affine((0, -0.02, 0), (0, 0, 0))
    cost = incompressibility(flow, ones(flow), step=STEP, span=1, **PHI)
    assert cost.item() == pytest.approx((4e-4 + 1e-8) ** 0.2, rel=1e-6)


def test_the_mask_keeps_what_forward_and_backward_agree_on() -> None:
    shape = (1, 2, 24, 16)
    forward, backward = torch.full(shape, 2.0), torch.full(shape, -2.0)
    backward[:, 0, 8:12] += 1.2
    forward[:, 1], backward[:, 1] = 0.0, 0.0
    printed = outlier_mask(forward, backward, alpha=1.0, step=STEP, landed=False)
    landed = outlier_mask(forward, backward, alpha=1.0, step=STEP, landed=True)
    rows = printed[0, 0, :, 5]
    assert torch.nonzero(rows == 0).flatten().tolist() == [8, 9, 10, 11, 23]  # the last one lands outside
    # 2 samples are one row of this grid: what is wrong at row 8 is met from row 7
    assert torch.nonzero(landed[0, 0, :, 5] == 0).flatten().tolist() == [7, 8, 9, 10, 23]


def test_only_the_landed_mask_is_right_under_large_strain() -> None:
    """d = -ε r and its exact inverse d' = ε / (1 - ε) r' agree where they meet, 2.5 samples apart as printed."""
    rows = STEP * torch.arange(512, dtype=torch.float32)[None, None, :, None].expand(1, 1, 512, 8)
    forward = torch.cat((-0.05 * rows, torch.zeros_like(rows)), dim=1)
    backward = torch.cat((0.05 / 0.95 * rows, torch.zeros_like(rows)), dim=1)
    assert outlier_mask(forward, backward, alpha=1.0, step=STEP, landed=True).mean() > 0.99
    assert outlier_mask(forward, backward, alpha=1.0, step=STEP, landed=False).mean() < 0.5


def frames(strain: float = 0.01) -> tuple[Tensor, Tensor, Tensor]:
    """Channels of a noise-free pair of the simulated scanner, and the true displacement (1, 2, N, M)."""
    config = ScannerConfig(shape=(256, 64), peak_strain=strain, slide_lines=0.0, tilt=0.0, noise=0.0)
    scanner = SimulatedScanner(config, seed=4)
    half = config.period_frames // 2
    pair = [torch.from_numpy(scanner.frame(k).samples.astype(np.float32))[None] for k in (0, half)]
    first, second = Channels()(*pair)
    return first, second, torch.from_numpy(scanner.truth(0, half))[None]


def test_no_displacement_has_less_data_loss_than_the_true_one() -> None:
    """The channels of both frames share one echo level, so a perfect flow leaves next to nothing."""
    first, second, truth = frames()
    inside = torch.zeros_like(first[:, :1])
    inside[:, :, 16:-32, 6:-6] = 1

    def cost(displacement: Tensor) -> float:
        warped = warp_frame(second, displacement, interpolation=4)
        return data_loss(first, warped, inside, gamma=1.0, epsilon=1e-12).item()

    perfect = cost(truth)
    assert perfect < 2e-3  # of a power of 1 a channel
    rest = torch.zeros_like(truth)
    rest[:, 0] = 0.25
    assert cost(truth + rest) > 5 * perfect
    assert cost(truth - rest) > 5 * perfect
    assert cost(torch.zeros_like(truth)) > 100 * perfect


def test_identical_frames_have_zero_data_loss_at_rest() -> None:
    first, _, truth = frames()
    warped = warp_frame(first, torch.zeros_like(truth), interpolation=4)
    torch.testing.assert_close(warped, first)
    cost = data_loss(first, warped, torch.ones_like(first[:, :1]), gamma=0.2, epsilon=1e-8)
    assert cost.item() == pytest.approx(FLOOR, rel=1e-3)
    cost = correlation_loss(first, warped, torch.ones_like(first[:, :1]), window=(33, 3))
    assert abs(cost.item()) < 1e-4


def test_a_linear_warp_of_rf_pulls_towards_whole_samples_and_the_refined_one_does_not() -> None:
    """A cosine of six samples a cycle moved by half a sample: linear reading shrinks it by 1 - cos(π / 6)."""
    rows = torch.arange(128, dtype=torch.float32)
    wave = torch.cos(2 * torch.pi * rows / 6)[None, None, :, None].expand(1, 1, 128, 4)
    half = torch.zeros(1, 2, 128, 4)
    half[:, 0] = 0.5
    expected = torch.cos(2 * torch.pi * (rows + 0.5) / 6)[None, None, :, None].expand(1, 1, 128, 4)
    inside = slice(16, -16)
    linear = (warp_frame(wave, half, interpolation=1) - expected)[:, :, inside].abs().max().item()
    refined = (warp_frame(wave, half, interpolation=4) - expected)[:, :, inside].abs().max().item()
    assert linear == pytest.approx(1 - np.cos(np.pi / 6), abs=0.02)
    assert refined < 2e-3


def test_gain_costs_no_correlation() -> None:
    first, _, _ = frames()
    cost = correlation_loss(first, 1.7 * first, torch.ones_like(first[:, :1]), window=(33, 3))
    assert abs(cost.item()) < 1e-4


@pytest.mark.parametrize("term", ["data", "correlation", "first", "second", "lateral", "dilation"])
def test_gradients_of_each_term(term: str) -> None:
    generator = torch.Generator().manual_seed(3)
    first, second = torch.randn(2, 1, 3, 16, 8, dtype=torch.float64, generator=generator)
    # away from the knots of linear reading, where there is no derivative
    flow = 0.3 + 0.01 * torch.rand(1, 2, 16, 8, dtype=torch.float64, generator=generator)
    mask = ones(flow)
    mask[0, 0, 3:5, 2] = 0
    phi = {"gamma": 0.2, "epsilon": 1e-2}
    grid = {"step": 1, "span": 1}

    def cost(flow: Tensor) -> Tensor:
        warped = warp_frame(second, flow, interpolation=2)
        return {
            "data": lambda: data_loss(first, warped, mask, **phi),
            "correlation": lambda: correlation_loss(first, warped, mask, window=(5, 3)),
            "first": lambda: first_order(flow[:, :1], mask, axis=2, **grid, **phi),
            "second": lambda: second_order(flow[:, :1], mask, axis=2, **grid, **phi),
            "lateral": lambda: first_order(flow[:, :1], mask, axis=3, **grid, **phi),
            "dilation": lambda: incompressibility(flow, mask, **grid, **phi),
        }[term]()

    assert torch.autograd.gradcheck(cost, flow.requires_grad_())


def test_the_loss_is_the_sum_of_its_terms_and_moves_the_forward_flow_alone() -> None:
    first, second, truth = frames()
    forward = torch.nn.functional.avg_pool2d(truth, STEP).requires_grad_()
    seen = (-forward.detach()).requires_grad_()  # a leaf, so that a gradient would show
    every = LossConfig(correlation=0.3, lateral_smoothness=0.1, incompressibility=0.2)
    loss = unsupervised_loss(first, second, forward, seen, every)
    assert loss.total.item() == pytest.approx(sum(term.item() for term in loss.terms.values()), rel=1e-6)
    assert set(loss.terms) == {
        "data", "correlation", "axial first", "lateral first", "axial second", "lateral displacement",
        "incompressibility",
    }  # fmt: skip
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert forward.grad is not None
    assert torch.isfinite(forward.grad).all()
    assert seen.grad is None
    assert 0.9 < loss.inliers.item() <= 1

    papers = unsupervised_loss(first, second, forward, seen, LossConfig())
    assert set(papers.terms) == {"data", "axial first", "lateral first", "axial second"}


@pytest.mark.parametrize("batch", [1, 2])
def test_a_batch_costs_the_mean_of_its_pairs(batch: int) -> None:
    first, second, truth = frames()
    forward = torch.nn.functional.avg_pool2d(truth, STEP)
    alone = unsupervised_loss(first, second, forward, -forward, LossConfig()).total
    many = [part.expand(batch, -1, -1, -1) for part in (first, second, forward, -forward)]
    together = unsupervised_loss(*many, LossConfig()).total
    assert together.item() == pytest.approx(alone.item(), rel=1e-5)


def test_constant_frames_give_finite_gradients() -> None:
    flat = torch.zeros(1, 3, 32, 32)
    forward = torch.zeros(1, 2, 16, 16, requires_grad=True)
    loss = unsupervised_loss(flat, flat, forward, torch.zeros(1, 2, 16, 16), LossConfig(correlation=1.0))
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert forward.grad is not None
    assert torch.isfinite(forward.grad).all()


def test_a_pair_with_nothing_believed_costs_nothing() -> None:
    first, second, truth = frames()
    forward = torch.nn.functional.avg_pool2d(truth, STEP)
    loss = unsupervised_loss(first, second, forward, forward + 50, LossConfig())
    assert loss.inliers.item() == 0
    assert loss.total.item() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma": 0.0}, "loss.gamma: got 0.0, expected above 0, at most 1"),
        ({"alpha": -1.0}, "loss.alpha: got -1.0, expected above 0"),
        ({"consistency": "both"}, "loss.consistency: got 'both', expected landed or printed"),
        ({"data": 0.0}, "loss.data and loss.correlation: got 0, expected one of them above 0"),
        ({"lambda1": float("nan")}, "loss.lambda1: got nan, expected 0 or more"),
        ({"correlation_window": (4, 3)}, r"loss.correlation_window: got \[4, 3\], expected two odd numbers"),
    ],
)
def test_impossible_weights_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        dataclasses.replace(LossConfig(), **change)
