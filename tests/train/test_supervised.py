"""The supervised loss on flows whose cost is known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor

from usert.network.liteflownet import FLOW_SCALE
from usert.train.pretrain.supervised import (
    LATERAL_WEIGHT,
    LEVEL_WEIGHTS,
    STAGE_WEIGHTS,
    difference,
    endpoint,
    penalty,
    supervised_loss,
)

Levels = list[tuple[int, tuple[Tensor, Tensor, Tensor]]]


def truth(batch: int = 1) -> Tensor:
    return torch.randn(batch, 2, 256, 64, generator=torch.Generator().manual_seed(0))


def perfect(of: Tensor, finest: int = 2) -> Levels:
    """What a perfect network gives: lateral first, in its own units, at the resolution of each level."""
    levels: Levels = []
    for level in range(6, finest - 1, -1):
        flow = functional.avg_pool2d(of.flip(1), 2 ** (level - 1)) / FLOW_SCALE
        levels.append((level, (flow, flow, flow)))
    return levels


def moved(levels: Levels, level: int, stage: int, by: Tensor) -> Levels:
    """`levels` with an error added to one stage of one level."""
    changed: Levels = []
    for name, (m, s, r) in levels:
        stages = [m, s, r]
        if name == level:
            stages[stage] = stages[stage] + by
        changed.append((name, (stages[0], stages[1], stages[2])))
    return changed


def test_a_perfect_flow_costs_nothing_or_the_penalty_of_nothing() -> None:
    assert float(supervised_loss(perfect(truth()), truth(), robust=False)) == pytest.approx(0, abs=1e-5)
    none = 0.1  # (0 + .01)^½: endpoint of both axes, differences over two spans
    expected = sum(LEVEL_WEIGHTS.values()) * sum(STAGE_WEIGHTS) * none * (1 + LATERAL_WEIGHT + 2)
    # level 6 has 8 rows of 32 samples: both spans fit as one row and none is left out
    assert float(supervised_loss(perfect(truth()), truth(), robust=True)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("level", [2, 4, 6])
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_any_error_costs_more_than_none(robust: bool, level: int, stage: int) -> None:
    best = supervised_loss(perfect(truth()), truth(), robust=robust)
    for axis in (0, 1):
        by = torch.zeros(1, 2, 1, 1)
        by[:, axis] = 0.02
        worse = supervised_loss(moved(perfect(truth()), level, stage, by), truth(), robust=robust)
        assert worse > best + 1e-4


def test_lateral_comes_first_in_a_flow_and_weighs_less() -> None:
    lateral, axial = torch.zeros(2, 1, 2, 1, 1)
    lateral[:, 0], axial[:, 1] = 1 / FLOW_SCALE, 1 / FLOW_SCALE  # one line, one sample
    weight = LEVEL_WEIGHTS[2] * STAGE_WEIGHTS[2]
    costs = [
        float(supervised_loss(moved(perfect(truth()), 2, 2, by), truth(), robust=False))
        for by in (lateral, axial)
    ]
    assert costs == pytest.approx([LATERAL_WEIGHT * weight, weight], rel=1e-3)


def test_endpoint_by_hand() -> None:
    error = torch.zeros(1, 2, 2, 2)
    error[0, 0, 0, 0], error[0, 1, 0, 1] = -4, 2
    assert float(endpoint(error, robust=False)) == pytest.approx(2 / 4 + LATERAL_WEIGHT * 4 / 4)
    assert float(penalty(torch.tensor(-0.24), robust=True)) == pytest.approx(0.5)


def test_differences_of_a_constant_error_cost_nothing() -> None:
    error = torch.full((2, 2, 64, 8), 3.0)
    assert float(difference(error, 2, robust=False)) == 0
    error[:, 0] = torch.randn(
        2, 64, 8, generator=torch.Generator().manual_seed(0)
    )  # the lateral error is not asked
    assert float(difference(error, 2, robust=False)) == 0


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_differences_of_a_strain_error_are_its_size_times_the_spans(scale: int) -> None:
    strain = 0.01
    axial = strain * scale * torch.arange(256 // scale).float()
    error = torch.zeros(1, 2, 256 // scale, 4)
    error[:, 1] = axial[:, None]
    assert float(difference(error, scale, robust=False)) == pytest.approx(strain * (8 + 48), rel=1e-4)


def test_spans_longer_than_the_frame_are_left_out() -> None:
    assert float(difference(torch.randn(1, 2, 1, 4), 32, robust=True)) == 0


def test_a_batch_costs_the_mean_of_its_pairs() -> None:
    both = truth(2)
    wrong = [(level, (m + 0.1, s - 0.2, r * 0.9)) for level, (m, s, r) in perfect(both)]
    alone = [
        supervised_loss(
            [(level, (m[i : i + 1], s[i : i + 1], r[i : i + 1])) for level, (m, s, r) in wrong],
            both[i : i + 1],
            robust=True,
        )
        for i in range(2)
    ]
    assert float(supervised_loss(wrong, both, robust=True)) == pytest.approx(float(sum(alone) / 2), rel=1e-5)


def test_the_gradient_is_finite_at_the_truth() -> None:
    levels = [(level, (m.requires_grad_(), s, r)) for level, (m, s, r) in perfect(truth())]
    supervised_loss(levels, truth(), robust=True).backward()  # type: ignore[no-untyped-call]
    for _, (flow, _, _) in levels:
        assert flow.grad is not None
        assert torch.isfinite(flow.grad).all()
