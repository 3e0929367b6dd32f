"""New weights against old ones: figures of known displacements, and the verdict."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from usert.network.liteflownet import LiteFlowNet
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.train.finetune.acceptance import Figures, estimate, figures, judge, local_snre, medians
from usert.train.finetune.recipe import AcceptanceConfig

GOOD = Figures(ncc=0.95, snre=5.0, consistency=0.1, found=0.99, rmse=0.05)
CONFIG = AcceptanceConfig()


def test_equal_weights_are_accepted() -> None:
    assert judge([GOOD], [GOOD], CONFIG) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ncc": 0.9}, "NCC fell from 0.9500 to 0.9000"),
        ({"snre": 4.0}, "SNRe fell from 5.00 to 4.00"),
        ({"consistency": 0.3}, "forward-backward error rose from 0.100 to 0.300 samples"),
        ({"rmse": 0.06}, "axial RMSE rose from 0.0500 to 0.0600 samples"),
        ({"found": 0.9}, "share of pixels found fell from 0.990 to 0.900"),
        ({"ncc": math.nan}, "NCC fell from 0.9500 to nan"),
        ({"consistency": math.nan}, "forward-backward error rose from 0.100 to nan samples"),
        ({"snre": math.nan}, "SNRe fell from 5.00 to nan"),
        ({"rmse": math.nan}, "axial RMSE rose from 0.0500 to nan samples"),
    ],
)
def test_each_figure_that_is_worse_is_an_objection(change: dict[str, float], words: str) -> None:
    assert judge([GOOD], [dataclasses.replace(GOOD, **change)], CONFIG) == [words]


def test_better_on_one_figure_does_not_buy_another() -> None:
    smoother = dataclasses.replace(GOOD, snre=20.0, ncc=0.9)
    assert len(judge([GOOD], [smoother], CONFIG)) == 1


def test_small_losses_are_within_the_tolerance() -> None:
    slightly = Figures(ncc=0.949, snre=4.95, consistency=0.11, found=0.986, rmse=0.0505)
    assert judge([GOOD], [slightly], CONFIG) == []


def test_recordings_without_truth_are_judged_without_it() -> None:
    blind = dataclasses.replace(GOOD, rmse=math.nan)
    assert judge([blind], [blind], CONFIG) == []
    assert all(math.isnan(found.rmse) for found in medians([blind, blind], [blind, blind]))
    assert [found.rmse for found in medians([blind, GOOD], [blind, GOOD])] == [0.05, 0.05]


@pytest.mark.parametrize("figure", ["ncc", "snre", "consistency", "found", "rmse"])
def test_a_figure_that_the_new_weights_lose_on_one_pair_is_an_objection(figure: str) -> None:
    lost = dataclasses.replace(GOOD, **{figure: math.nan})
    assert len(judge([GOOD] * 3, [GOOD, GOOD, lost], CONFIG)) == 1
    assert judge([GOOD, GOOD, lost], [GOOD] * 3, CONFIG) == []


def test_local_snre_by_hand() -> None:
    """Blocks of mean 2 % whose halves are 1 and 3 %: deviation 1 %, ratio 2."""
    strain = np.full((128, 16), 0.01)
    strain[:, ::2] = 0.03
    assert local_snre(strain) == pytest.approx(2.0)
    assert local_snre(-strain) == pytest.approx(2.0)
    assert math.isnan(local_snre(strain[:32]))


@pytest.mark.parametrize(("shape", "sample"), [((64, 32), math.nan), ((70, 37), math.inf)])
def test_an_estimate_has_the_shape_of_its_frames(shape: tuple[int, int], sample: float) -> None:
    network = LiteFlowNet(finest=4).train()
    frames = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
    frames[0, 3, 4] = sample
    displacement, apart = estimate(network, *frames, cycles=0.16)
    assert displacement.shape == (2, *shape)
    assert apart.shape == (2, *shape)
    assert np.isfinite(displacement).all()
    assert network.training
    with torch.no_grad():  # the other way round is the other estimate
        back, _ = estimate(network, *frames[::-1], cycles=0.16)
    assert not np.array_equal(displacement, back)


def test_networks_may_be_compared_as_an_export_with_refinement_would_have_them() -> None:
    """From the same rough start, here no displacement at all, refinement finds a shift of half a sample."""
    scanner = SimulatedScanner(ScannerConfig(shape=(128, 64), peak_strain=0.01), seed=2)
    first, second, truth = scanner.frame(0).samples, scanner.frame(6).samples, scanner.truth(0, 6)
    network = LiteFlowNet(finest=4)
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    alone = figures(network, first, second, truth, cycles=0.1625)
    refined = figures(network, first, second, truth, cycles=0.1625, refinement="full")
    assert alone.rmse > 0.02
    assert refined.rmse < 0.5 * alone.rmse
