"""What weights were trained for comes from their recipe, and from nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from usert.export.trained_for import SAMPLINGS, trained_for
from usert.train.finetune.recipe import FineTuneRecipe
from usert.train.pretrain.ranges import PairRanges
from usert.train.pretrain.recipe import PretrainRecipe, Stage
from usert.train.provenance import provenance

STAGE = Stage(share=1.0, finest=3, shape=(64, 64), batch=1, robust=False, diverse=0.0)
CPU = torch.device("cpu")


def made(**settings: object) -> str:
    recipe = PretrainRecipe(stages=(STAGE,), **settings)  # type: ignore[arg-type]
    return provenance(recipe, made_by="test", steps=1, device=CPU, start=None)


def tuned(start: str) -> str:
    return provenance(FineTuneRecipe(), made_by="test", steps=1, device=CPU, start="ab", start_recipe=start)


def test_the_ranges_of_the_generated_pairs() -> None:
    found = trained_for(made(ranges=PairRanges(strain=(0.001, 0.05), cycles_per_sample=(0.1, 0.2))))
    assert found is not None
    assert found.strain_percent == (0.1, 5.0)
    assert found.centre_cycles_per_sample == (0.1, 0.2)


def test_on_the_depth_grid_any_sampling_is_the_same() -> None:
    found = trained_for(made(front_end="baseband"))
    assert found is not None
    assert found.centre_cycles_per_sample == SAMPLINGS


def test_scenes_and_folders_are_no_rf() -> None:
    assert trained_for(made(data="scenes")) is None
    assert trained_for(made(data="folder")) is None


def test_fine_tuned_weights_keep_the_ranges_of_their_start() -> None:
    start = made(ranges=PairRanges(strain=(0.002, 0.04)))
    found = trained_for(tuned(start))
    assert found is not None
    assert found.strain_percent == (0.2, 4.0)
    assert trained_for(tuned("published")) is None


def test_what_tells_nothing_is_not_made_up(tmp_path: Path) -> None:
    for line in ("none", "{}", json.dumps({"recipe": 3}), json.dumps([1]), "not told"):
        assert trained_for(line) is None
