"""Recipes of fine-tuning: those of the package, the paper's numbers, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from usert.errors import RecipeError
from usert.train.finetune.recipe import FineTuneRecipe
from usert.train.pretrain.recipe import load_recipe

RECIPES = Path(__file__).parents[2] / "train" / "recipes"


@pytest.mark.parametrize("name", ["finetune", "paper", "measured"])
def test_those_of_the_package_load(name: str) -> None:
    load_recipe(RECIPES / f"{name}.toml", FineTuneRecipe)


def test_the_papers_recipe_has_the_papers_numbers() -> None:
    recipe = load_recipe(RECIPES / "paper.toml", FineTuneRecipe)
    assert (recipe.epochs, recipe.learning_rate, recipe.accumulate) == (20, 4e-7, 1)
    loss = recipe.loss
    assert (loss.gamma, loss.alpha, loss.lambda1, loss.lambda2, loss.lambda3) == (0.2, 1.0, 0.5, 0.005, 0.2)
    assert (loss.correlation, loss.lateral_smoothness, loss.incompressibility) == (0, 0, 0)
    assert recipe.loss.least_inliers == 0.5
    assert recipe.selection.crop == (1920, 768)
    assert recipe.selection.strain == (0.005, 0.05)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "unknown key epoch, expected epochs, "),
        ("[loss]\nlambda_1 = 0.1", "unknown key loss.lambda_1, expected "),
        ("[augment]\nrotation = 5.0", "unknown key augment.rotation, expected "),
        ('precision = "int8"', "precision: got 'int8', expected bf16 or fp32"),
        ('checkpointing = "some"', "checkpointing: got 'some', expected none, blocks, fine"),
        ("epochs = 0", "epochs: got 0, expected 1 or more"),
        ("learning_rate = 2.0", "learning_rate: got 2.0, expected above 0, below 1"),
        ("held_out = 1.0", "held_out: got 1.0, expected above 0, below 1"),
        (
            '[acceptance]\nrefinement = "much"',
            "acceptance.refinement: got 'much', expected off, cheap, full",
        ),
        ("[acceptance]\nncc = -1.0", "acceptance.ncc: got -1.0, expected 0 or more"),
        ("[acceptance]\npairs = 0", "acceptance.pairs: got 0, expected 1 or more"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, FineTuneRecipe)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"clip": 0.0}, {"seed": -1}, {"accumulate": 0}])
def test_impossible_values_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(change))):
        FineTuneRecipe(**change)
