"""Recipes: what a training run is made of, as frozen dataclasses that a TOML file only fills.

Invariant: a key that no field bears is refused by name, so that a typing error never trains for hours.
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from usert.errors import RecipeError

from .pairs import PairRanges

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One part of pre-training."""

    share: float
    """Share of the run's time."""
    finest: int
    """Finest level of the network that is trained."""
    shape: tuple[int, int]
    """(N, M) of the generated crops, multiples of 32."""
    batch: int
    robust: bool
    """Penalty (|e| + .01)^½ with axial differences, instead of |e|."""
    diverse: float
    """Share of pairs that slide and turn besides being compressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainRecipe:
    """Supervised pre-training on generated pairs, from random weights."""

    minutes: float = 110.0
    """Length of the run; schedule and stages are shares of it, whatever the machine."""
    seed: int = 1
    learning_rate: float = 4e-4
    last_learning_rate: float = 1e-6
    warm_up_steps: int = 100
    weight_decay: float = 1e-4
    clip: float = 1.0
    """Largest gradient norm."""
    normalise_features: bool = True
    ranges: PairRanges = field(default_factory=PairRanges)
    stages: tuple[Stage, ...] = ()

    def __post_init__(self) -> None:
        if not self.stages or abs(sum(stage.share for stage in self.stages) - 1) > 1e-6:
            shares = [stage.share for stage in self.stages]
            raise RecipeError(f"stages: got shares {shares}, expected one or more that add up to 1")
        for stage in self.stages:
            if any(side % 32 or side < 64 for side in stage.shape):
                raise RecipeError(
                    f"stage shape: got {list(stage.shape)}, expected multiples of 32, 64 or more"
                )


def load_recipe(path: Path) -> PretrainRecipe:
    """Read a TOML recipe. Errors: `RecipeError` for a missing file, bad TOML, unknown or ill-typed keys."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{path}: cannot read the recipe: {error.strerror}") from error
    try:
        return _fill(PretrainRecipe, tomllib.loads(text), str(path))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from error


def _fill(kind: type[T], table: dict[str, Any], where: str) -> T:
    hints = get_type_hints(kind)
    unknown = sorted(set(table) - set(hints))
    if unknown:
        raise RecipeError(f"{where}: unknown key {', '.join(unknown)}; known: {', '.join(sorted(hints))}")
    values: dict[str, Any] = {}
    for key, value in table.items():
        place, hint = f"{where}: {key}", hints[key]
        if dataclasses.is_dataclass(hint) and isinstance(value, dict):
            values[key] = _fill(hint, value, place)  # type: ignore[arg-type]
        elif hint == tuple[Stage, ...] and isinstance(value, list):
            values[key] = tuple(_fill(Stage, item, place) for item in value)
        elif isinstance(value, list):
            values[key] = tuple(value)
        elif (hint is float and type(value) in (int, float)) or type(value) is hint:
            values[key] = hint(value)
        else:
            raise RecipeError(f"{place}: got {value!r}, expected {getattr(hint, '__name__', hint)}")
    try:
        return kind(**values)
    except TypeError as error:
        raise RecipeError(f"{where}: {error}") from error
