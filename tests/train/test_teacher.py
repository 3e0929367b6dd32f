"""A small network that learns from a trained one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from short_pretraining import RECIPE, ignore, stop_after, training

from usert.bundle import sha256_of
from usert.errors import OptionError, WeightsError
from usert.network.liteflownet import LiteFlowNet
from usert.network.weights import load_weights, read_info, save_weights
from usert.train.pretrain.supervised import distillation_loss, supervised_loss

SMALL = dataclasses.replace(RECIPE, size="small", distillation=0.5, precision="fp32")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(78)
    path = tmp_path_factory.mktemp("teacher") / "w.safetensors"
    save_weights(LiteFlowNet(finest=4), path, recipe="the recipe of the teacher")
    return path


def test_the_loss_is_that_from_the_truth_and_a_share_of_that_from_the_teacher(
    weights: Path, tmp_path: Path
) -> None:
    run, first = training(tmp_path, SMALL, teacher=weights), SMALL.stages[0]
    assert run.network.size == "small"
    sample = run.source(np.random.default_rng(5), first)
    loss, _ = run._loss(sample, first)
    with torch.no_grad():
        ours = list(zip((6, 5), run.network.cascade(sample.first, sample.second), strict=True))
        theirs = load_weights(weights).cascade(sample.first, sample.second)
        taught = {level: flows[2] for level, flows in zip((6, 5, 4), theirs, strict=True)}
        expected = supervised_loss(ours, sample.truth, robust=False)
        expected = expected + 0.5 * distillation_loss(ours, taught, robust=False)
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_who_answers_as_the_teacher_has_no_loss_left() -> None:
    generator = torch.Generator().manual_seed(1)
    taught = {level: torch.randn(2, 2, 8, 8, generator=generator) for level in (6, 5)}
    alike = [(level, (flow, flow, flow)) for level, flow in taught.items()]
    assert float(distillation_loss(alike, taught, robust=False)) == 0
    finer = torch.randn(2, 2, 16, 16, generator=generator)
    more = [*alike, (4, (finer, finer, finer))]  # the teacher says nothing of level 4
    assert float(distillation_loss(more, taught, robust=False)) == 0
    apart = [(level, (flow + 0.1, flow, flow)) for level, flow in taught.items()]
    # .1 units are 2 samples and 2 lines: levels 6 and 5 weigh .3, the first stage .25, lateral .25
    assert float(distillation_loss(apart, taught, robust=False)) == pytest.approx(2 * 0.3 * 0.25 * 2 * 1.25)


def test_the_teacher_stays_as_it_is_and_is_named_in_the_weights(weights: Path, tmp_path: Path) -> None:
    before = sha256_of(weights)
    run = training(tmp_path, SMALL, teacher=weights)
    assert run.teacher is not None
    kept = {name: value.clone() for name, value in run.teacher._network.state_dict().items()}
    run.run(ignore)
    assert all(torch.equal(kept[name], value) for name, value in run.teacher._network.state_dict().items())
    info = read_info(run.weights_path)
    told = json.loads(info.recipe)
    assert info.size == load_weights(run.weights_path).size == "small"
    assert told["teacher_sha256"] == before == sha256_of(weights)
    assert told["teacher_recipe"] == "the recipe of the teacher"


def test_a_run_is_resumed_with_its_teacher(weights: Path, tmp_path: Path) -> None:
    stop_after(training(tmp_path, SMALL, teacher=weights), 2)
    same = training(tmp_path, SMALL, teacher=weights)
    same.resume()
    assert same.step == 2
    assert same.network.size == "small"
    other = tmp_path / "other.safetensors"
    save_weights(LiteFlowNet(finest=4), other, recipe="r")
    with pytest.raises(WeightsError, match="--teacher"):
        training(tmp_path, SMALL, teacher=other).resume()


def test_teachers_that_cannot_be(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--teacher"):
        training(tmp_path, SMALL)
    with pytest.raises(OptionError, match="--teacher"):
        training(tmp_path, RECIPE, teacher=weights)
    with pytest.raises(WeightsError, match="baseband"):
        training(tmp_path, dataclasses.replace(SMALL, front_end="baseband"), teacher=weights)
    with pytest.raises(WeightsError, match=r"size full, expected small"):
        training(tmp_path, SMALL, weights=weights, teacher=weights)
