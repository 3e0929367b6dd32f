"""Sources of pre-training pairs: each gives what the network takes, from the generator alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from flow_pairs import write_pair

from usert.errors import OptionError
from usert.network.channels import Channels
from usert.train.pretrain.flow_folder import FlowFolder
from usert.train.pretrain.pairs import random_pairs
from usert.train.pretrain.ranges import PairRanges
from usert.train.pretrain.recipe import DATA, PretrainRecipe, Stage
from usert.train.pretrain.scenes import random_scenes
from usert.train.pretrain.source import Sample, Source, open_source

CPU = torch.device("cpu")
STAGE = Stage(share=1.0, finest=5, shape=(96, 64), batch=2, robust=False, diverse=0.5)
RANGES = PairRanges(strain=(0.01, 0.02))


def recipe(data: str) -> PretrainRecipe:
    return PretrainRecipe(data=data, ranges=RANGES, stages=(STAGE,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(2):
        write_pair(tmp_path, str(seed), (100, 70), seed=seed)
    return tmp_path


def opened(data: str, folder: Path) -> Source:
    return open_source(recipe(data), CPU, folder if data == "folder" else None)


def same(one: Sample, other: Sample) -> bool:
    return all(
        torch.equal(getattr(one, part.name), getattr(other, part.name)) for part in dataclasses.fields(Sample)
    )


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("batch", [1, 2])
def test_every_source_gives_a_batch_as_the_network_takes_it(data: str, batch: int, folder: Path) -> None:
    sample = opened(data, folder)(np.random.default_rng(0), dataclasses.replace(STAGE, batch=batch))
    assert sample.first.shape == sample.second.shape == (batch, 3, 96, 64)
    assert sample.truth.shape == (batch, 2, 96, 64)
    for part in (sample.first, sample.second, sample.truth):
        assert part.dtype == torch.float32
        assert torch.isfinite(part).all()
        assert not part.requires_grad


@pytest.mark.parametrize("data", DATA)
def test_a_draw_depends_on_the_generator_alone(data: str, folder: Path) -> None:
    source = opened(data, folder)
    first = source(np.random.default_rng(7), STAGE)
    torch.manual_seed(99)
    assert same(first, source(np.random.default_rng(7), STAGE))  # not on what was drawn before
    assert same(first, opened(data, folder)(np.random.default_rng(7), STAGE))
    assert not same(first, source(np.random.default_rng(8), STAGE))


def test_the_scanners_pairs_are_those_of_the_recipes_ranges_through_the_channels() -> None:
    sample = open_source(recipe("scanner"), CPU, None)(np.random.default_rng(4), STAGE)
    pair = random_pairs(np.random.default_rng(4), RANGES, batch=2, shape=STAGE.shape, diverse=STAGE.diverse)
    first, second = Channels()(pair.first, pair.second)
    assert same(sample, Sample(first=first, second=second, truth=pair.truth))


def test_scenes_and_folder_give_what_their_modules_draw(folder: Path) -> None:
    scene = random_scenes(np.random.default_rng(4), batch=2, shape=STAGE.shape, diverse=STAGE.diverse)
    sample = opened("scenes", folder)(np.random.default_rng(4), STAGE)
    assert same(sample, Sample(first=scene.first, second=scene.second, truth=scene.truth))
    first, second, truth = FlowFolder(folder).draw(np.random.default_rng(4), batch=2, shape=STAGE.shape)
    sample = opened("folder", folder)(np.random.default_rng(4), STAGE)
    assert same(sample, Sample(first=first, second=second, truth=truth))


@pytest.mark.parametrize("data", ["scanner", "scenes"])
def test_a_folder_that_the_recipe_does_not_ask_for(data: str, folder: Path) -> None:
    with pytest.raises(OptionError, match=f"data folder: got {folder} .*'{data}'"):
        open_source(recipe(data), CPU, folder)


def test_a_recipe_that_asks_for_a_folder(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"data folder: got none .*'folder'"):
        open_source(recipe("folder"), CPU, None)
    with pytest.raises(OptionError, match=r"NAME_img1\.ppm"):
        open_source(recipe("folder"), CPU, tmp_path)
