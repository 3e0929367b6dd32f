"""Recipes: the shipped one, and those that are refused."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import pytest

from usert.errors import RecipeError
from usert.train.pretrain.ranges import PairRanges
from usert.train.pretrain.recipe import PretrainRecipe, Stage, load_recipe

STAGE = """
[[stages]]
share = 1
finest = 3
shape = [64, 64]
batch = 1
robust = false
diverse = 0.5
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_recipe_loads() -> None:
    with importlib.resources.as_file(importlib.resources.files("usert.train") / "recipes") as folder:
        recipe = load_recipe(folder / "pretrain.toml", PretrainRecipe)
    assert recipe.stages[-1].finest == 2
    assert sum(stage.share for stage in recipe.stages) == pytest.approx(1)


def test_every_packaged_recipe_of_pre_training_loads() -> None:
    with importlib.resources.as_file(importlib.resources.files("usert.train") / "recipes") as folder:
        paths = [path for path in folder.glob("*.toml") if "[[stages]]" in path.read_text(encoding="utf-8")]
        data = {path.stem: load_recipe(path, PretrainRecipe).data for path in paths}
    scanner = ("pretrain", "precision", "baseband", "baseband-found", "small")
    assert data == {"scenes": "scenes"} | dict.fromkeys(scanner, "scanner")


def test_values_fill_the_fields_and_the_rest_keeps_its_defaults(tmp_path: Path) -> None:
    text = "minutes = 5\nseed = 7\n" + STAGE + "[ranges]\nstrain = [0.001, 0.01]\n"
    assert load_recipe(written(tmp_path, text), PretrainRecipe) == PretrainRecipe(
        minutes=5.0,
        seed=7,
        ranges=PairRanges(strain=(0.001, 0.01)),
        stages=(Stage(share=1.0, finest=3, shape=(64, 64), batch=1, robust=False, diverse=0.5),),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed = 1" + STAGE, "unknown key sed, expected minutes, seed, "),
        (STAGE + "size = 3", r"unknown key stages\[0\]\.size, expected share, finest, "),
        (STAGE + "[ranges]\nnoises = [1, 2]", r"unknown key ranges\.noises, expected cycles_per_sample, "),
        (STAGE.replace("batch = 1", ""), r"key stages\[0\]\.batch is missing"),
        ("seed = 1.5" + STAGE, "seed: got 1.5, expected an integer"),
        ("seed = true" + STAGE, "seed: got True, expected an integer"),
        ("minutes = 'long'" + STAGE, "minutes: got 'long', expected a finite number"),
        ("minutes = inf" + STAGE, "minutes: got inf, expected a finite number"),
        ("normalise_features = 1" + STAGE, "normalise_features: got 1, expected true or false"),
        (STAGE.replace("[64, 64]", "[64]"), r"stages\[0\]\.shape: got \[64\], expected tuple\[int, int\]"),
        (STAGE.replace("[64, 64]", "[64, 'x']"), r"stages\[0\]\.shape\[1\]: got 'x', expected an integer"),
        ("stages = 3", r"stages: got 3, expected tuple"),
        ("ranges = 3" + STAGE, "ranges: got 3, expected an object"),
        ("stages = [3]", r"stages\[0\]: got 3, expected an object"),
        ("", r"stages: got shares \[\], expected one or more that add up to 1"),
        (STAGE + STAGE, r"stages: got shares \[1\.0, 1\.0\]"),
        (STAGE.replace("share = 1", "share = 2") + STAGE.replace("share = 1", "share = -1"), "share: got -1"),
        (STAGE.replace("[64, 64]", "[64, 70]"), r"shape: got \[64, 70\], expected multiples of 32"),
        (STAGE.replace("finest = 3", "finest = 1"), "finest: got 1, expected a level from 2 to 6"),
        (STAGE.replace("batch = 1", "batch = 0"), "batch: got 0, expected 1 or more"),
        (STAGE.replace("0.5", "1.5"), "diverse: got 1.5, expected 0 to 1"),
        ("minutes = 0" + STAGE, "minutes: got 0.0, expected a number above 0"),
        ("learning_rate = 1e-9" + STAGE, "expected 0 < last <= first"),
        ("clip = 0" + STAGE, "clip: got 0.0, expected above 0"),
        (STAGE + "[ranges]\nstrain = [0.1, 0.01]", r"ranges\.strain: got \[0\.1, 0\.01\]"),
        ("data = 'chairs'" + STAGE, "data: got 'chairs', expected scanner, scenes, folder"),
        ("precision = 'fp16'" + STAGE, "precision: got 'fp16', expected bf16 or fp32"),
        ("minutes = = 3", "TOML"),
    ],
)
def test_what_is_refused_is_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=r"recipe\.toml: .*" + message) as caught:
        load_recipe(written(tmp_path, text), PretrainRecipe)
    assert "\n" not in str(caught.value)


def test_a_later_stage_is_never_coarser() -> None:
    fine = Stage(share=0.5, finest=2, shape=(64, 64), batch=1, robust=False, diverse=0)
    coarse = Stage(share=0.5, finest=3, shape=(64, 64), batch=1, robust=False, diverse=0)
    with pytest.raises(RecipeError, match=r"stages finest: got \[2, 3\]"):
        PretrainRecipe(stages=(fine, coarse))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nowhere\.toml: .*No such file"):
        load_recipe(tmp_path / "nowhere.toml", PretrainRecipe)
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"recipe\.toml: .*TOML"):
        load_recipe(path, PretrainRecipe)
