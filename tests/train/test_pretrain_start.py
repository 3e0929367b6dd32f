"""What pre-training starts from and learns on: weights of a file, and each kind of data."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from flow_pairs import write_pair
from short_pretraining import RECIPE, ignore, stage, stop_after, training

from usert.bundle import sha256_of
from usert.errors import WeightsError
from usert.network.liteflownet import LiteFlowNet
from usert.network.weights import load_weights, read_info, save_weights
from usert.train.pretrain.recipe import DATA
from usert.train.pretrain.source import open_source
from usert.train.pretrain.supervised import supervised_loss


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other random numbers than a run would draw, down to a finer level than its first."""
    torch.manual_seed(77)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_weights(LiteFlowNet(finest=4), path, recipe="none")
    return path


def test_a_run_from_weights_begins_with_their_loss(weights: Path, tmp_path: Path) -> None:
    exact = dataclasses.replace(RECIPE, precision="fp32")
    run, first = training(tmp_path, exact, weights=weights), exact.stages[0]
    loss, _ = run._train_step(first)

    network = load_weights(weights, finest=5)
    source = open_source(exact, torch.device("cpu"), None)
    sample = source(np.random.default_rng(exact.seed), first)
    with torch.no_grad():
        levels = list(zip((6, 5), network.cascade(sample.first, sample.second), strict=True))
        expected = supervised_loss(levels, sample.truth, robust=first.robust)
        begun_anew, _ = training(tmp_path, exact)._loss(sample, first)
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert loss != pytest.approx(float(begun_anew), rel=1e-4)


def test_weights_tell_those_that_they_began_from(weights: Path, tmp_path: Path) -> None:
    stop_after(training(tmp_path, RECIPE, weights=weights), 2)
    again = training(tmp_path, RECIPE, weights=weights)
    again.resume()
    again.run(ignore)
    told = json.loads(read_info(again.weights_path).recipe)
    assert told["start_sha256"] == sha256_of(weights)
    assert again.network.finest == 4  # the level that the file had and the first stage had not grows again


def test_a_run_is_resumed_with_the_weights_that_it_began_from(weights: Path, tmp_path: Path) -> None:
    training(tmp_path).run(ignore, stopped=lambda: True)
    with pytest.raises(WeightsError, match=r"random numbers, got weights \w{12}: .*--weights"):
        training(tmp_path, RECIPE, weights=weights).resume()
    training(tmp_path, RECIPE, weights=weights).save()
    with pytest.raises(WeightsError, match=r"weights \w{12}, got random numbers: .*--weights"):
        training(tmp_path).resume()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    del state["start_sha256"]
    torch.save(state, tmp_path / "state.pt")
    old = training(tmp_path)
    old.resume()  # a state of version 0.1.0
    assert old.start is None


def test_weights_that_cannot_start_a_run(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="absent"):
        training(tmp_path, RECIPE, weights=tmp_path / "absent")
    finer = dataclasses.replace(RECIPE, stages=(stage(1.0, 3),))
    with pytest.raises(WeightsError, match=r"level 3, .*\b4\b"):
        training(tmp_path, finer, weights=weights)
    other = dataclasses.replace(RECIPE, normalise_features=False)
    with pytest.raises(
        WeightsError,
        match="got normalise_features True, expected False",
    ):
        training(tmp_path, other, weights=weights)


@pytest.mark.parametrize("data", DATA)
def test_every_kind_of_data_trains_and_is_told(data: str, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, data=data, precision="fp32", stages=(stage(1.0, 6),))
    folder = None
    if data == "folder":
        folder = tmp_path / "chairs"
        folder.mkdir()
        write_pair(folder, "1", (64, 64))
    run = training(tmp_path / "run", recipe, folder_data=folder)
    run.run(ignore)
    told = json.loads(read_info(run.weights_path).recipe)
    words = {"scanner": "generated pairs", "scenes": "textured scenes", "folder": "a folder of image pairs"}
    assert told["data"].startswith(words[data])
    assert told["recipe"]["data"] == data


def test_full_precision_is_not_the_half_one(tmp_path: Path) -> None:
    losses = {}
    for precision in ("bf16", "fp32"):
        recipe = dataclasses.replace(RECIPE, precision=precision)
        losses[precision], _ = training(tmp_path, recipe)._train_step(recipe.stages[0])
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)
