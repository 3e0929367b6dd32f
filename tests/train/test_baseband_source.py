"""Pairs on the depth grid: the network is to find what companding leaves, and a loss on RF reaches its weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from usert.front_end import depth_grid, grid_rows
from usert.network.liteflownet import LiteFlowNet
from usert.network.warp import warp
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.train.finetune.flow_pair import FlowPair
from usert.train.finetune.loss_config import LossConfig
from usert.train.pretrain.coarse import coarse_map
from usert.train.pretrain.ranges import PairRanges
from usert.train.pretrain.recipe import PretrainRecipe, Stage
from usert.train.pretrain.source import Sample, Source, open_source, remaining

CPU = torch.device("cpu")
STAGE = Stage(share=1.0, finest=5, shape=(128, 64), batch=2, robust=False, diverse=0.0)
RANGES = PairRanges(
    cycles_per_sample=(0.26, 0.32),
    strain=(0.02, 0.03),
    offset_wavelengths=6.0,
    decorrelation=(0.01, 0.02),
    noise=(0.01, 0.02),
)


def opened(**changes: object) -> Source:
    stage = dataclasses.replace(STAGE, **changes)  # type: ignore[arg-type]
    recipe = PretrainRecipe(front_end="baseband", ranges=RANGES, stages=(stage,))
    source = open_source(recipe, CPU, None)
    return lambda rng, _: source(rng, stage)


def likeness(sample: Sample, moved: torch.Tensor) -> float:
    """Of the envelopes, the second moved back by a displacement."""
    back = warp(sample.second[:, :1], moved.flip(1))[:, 0, 16:-16, 8:-8]
    first = sample.first[:, 0, 16:-16, 8:-8]
    return float(torch.corrcoef(torch.stack((first.flatten(), back.flatten())))[0, 1])


@pytest.mark.parametrize("made", [0.0, 1.0])
def test_the_truth_lays_what_is_left_on_each_other(made: float) -> None:
    for seed in range(3):
        sample = opened(made_coarse=made)(np.random.default_rng(seed), STAGE)
        assert sample.first.shape == sample.second.shape == (2, 3, 128, 64)
        assert sample.truth.shape == (2, 2, 128, 64)
        right = likeness(sample, sample.truth)
        assert right > 0.75
        assert right > likeness(sample, sample.truth + torch.tensor([2.0, 0.0])[None, :, None, None])


def test_what_is_found_leaves_little() -> None:
    """A press of 2 to 3 % and a shift of 6 wavelengths: what the coarse map leaves is a fraction of it."""
    left = [
        opened(made_coarse=0.0)(np.random.default_rng(seed), STAGE).truth[:, 0].abs().median()
        for seed in range(4)
    ]
    assert float(np.median(left)) < 1.0


def test_the_remaining_displacement_closes_the_circle() -> None:
    row, line = torch.arange(96.0)[:, None], torch.arange(48.0)[None, :]
    truth = torch.stack((-0.05 * row + 0.01 * line, 0.04 * line + 0 * row))[None]
    coarse = torch.stack((-0.045 * row + 1.5 + 0 * line, 0.03 * line + 0.4 + 0 * row))[None]
    rest = remaining(truth, coarse)
    again = rest + warp(coarse, rest.flip(1), outside="border")
    torch.testing.assert_close(again[:, :, 8:-8, 8:-8], truth[:, :, 8:-8, 8:-8], atol=1e-3, rtol=0)


def test_a_made_coarse_map_is_smooth() -> None:
    truth = torch.cumsum(torch.full((1, 2, 128, 64), -0.03), dim=2)
    for seed in range(6):
        found = coarse_map(np.random.default_rng(seed), truth)
        assert found.shape == truth.shape
        bend = found[:, :1].diff(dim=2).diff(dim=2).abs().max()
        assert float(bend) < 0.2


def test_the_loss_on_rf_reaches_the_weights_through_the_grid() -> None:
    torch.manual_seed(0)
    scanner = SimulatedScanner(ScannerConfig(shape=(256, 64), peak_strain=0.01, period_frames=2), 0)
    first, second = (torch.from_numpy(scanner.frame(k).samples)[None].float() for k in (0, 1))
    cycles = scanner.scan.cycles_per_sample
    depths = torch.from_numpy(depth_grid(grid_rows(256, cycles), cycles))
    network = LiteFlowNet(finest=4, front_end="baseband").train()
    pair = FlowPair(network, LossConfig(alpha=50.0))  # an untrained network agrees with itself on nothing
    total, inliers, terms = pair(first, second, depths)
    assert torch.isfinite(total)
    assert 0 <= float(inliers) <= 1
    assert "data" in terms
    total.backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(g).all() for g in gradients)
    assert any(float(g.abs().max()) > 0 for g in gradients)
    with pytest.raises(ValueError, match="depths: got none"):
        pair(first, second)
