"""Recipes of training runs: frozen dataclasses, filled from TOML files.

Invariant: a key without a field is rejected by name, so that a typing error does not train for hours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from usert.errors import RecipeError
from usert.front_end import FrontEnd, as_front_end
from usert.network.widths import SIZES, NetworkSize
from usert.schema import Schema
from usert.toml_file import read_toml

from ..check import check
from .ranges import PairRanges

_Recipe = TypeVar("_Recipe")

LEVELS = range(2, 7)
"""Pyramid levels that the network has, finest first."""
PRECISION = ("bf16", "fp32")
DATA = ("scanner", "scenes", "folder")
"""Sources of pre-training pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One part of pre-training. Errors: `RecipeError` for an impossible value."""

    share: float
    """Share of the run's time."""
    finest: int
    """Finest level of the network that is trained; never coarser than in the stage before."""
    shape: tuple[int, int]
    """(N, M) of the pairs, multiples of 32."""
    batch: int
    robust: bool
    """Penalty (|e| + .01)^½ with axial differences, instead of |e|."""
    made_coarse: float = 0.2
    """Share of the pairs whose coarse map is made of the truth (see `coarse`) and not found in the frames, as it is
    live; for the front end `baseband`."""
    diverse: float
    """Share of the scanner's pairs that slide and turn besides being compressed, or of scenes that have shapes."""

    def __post_init__(self) -> None:
        check(self.share > 0, "stages share", self.share, "above 0")
        check(self.finest in LEVELS, "stages finest", self.finest, "a level from 2 to 6")
        fits = all(side >= 64 and side % 32 == 0 for side in self.shape)
        check(fits, "stages shape", list(self.shape), "multiples of 32, 64 or more")
        check(self.batch > 0, "stages batch", self.batch, "1 or more")
        check(0 <= self.made_coarse <= 1, "stages made_coarse", self.made_coarse, "0 to 1")
        check(0 <= self.diverse <= 1, "stages diverse", self.diverse, "0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainRecipe:
    """Recipe of supervised pre-training on pairs with known truth. Errors: `RecipeError` for an impossible value."""

    minutes: float = 110.0
    """Length of the run; schedule and stages are shares of it, whatever the machine."""
    seed: int = 1
    learning_rate: float = 4e-4
    last_learning_rate: float = 1e-6
    warm_up_steps: int = 100
    """Steps over which the rate rises, at the start and whenever a level is added."""
    weight_decay: float = 1e-4
    clip: float = 1.0
    """Largest gradient norm."""
    precision: str = "bf16"
    """Arithmetic of the convolutions: `bf16` (autocast) or `fp32`, the faster one on CPUs without AMX."""
    normalise_features: bool = True
    data: str = "scanner"
    """Source of the pairs: `scanner` (the simulated one), `scenes` (textured) or `folder` (FlyingChairs)."""
    front_end: FrontEnd = "rf"
    """Front end of the network for the scanner's pairs (`usert.front_end`): `rf`, or `baseband`, whose shapes count
    rows of the network's own grid."""
    size: NetworkSize = "full"
    """Widths of the network's layers (`usert.network.widths`)."""
    distillation: float = 0.0
    """Weight of the distance from the answer of the teacher, a trained network, beside 1 for that from the truth."""
    ranges: PairRanges = field(default_factory=PairRanges)
    """Ranges of the scanner's pairs."""
    stages: tuple[Stage, ...] = ()

    def __post_init__(self) -> None:
        check(0 < self.minutes < math.inf, "minutes", self.minutes, "a number above 0")
        check(self.seed >= 0, "seed", self.seed, "0 or more")
        rates = (self.last_learning_rate, self.learning_rate)
        check(0 < rates[0] <= rates[1], "learning rates, last and first", list(rates), "0 < last <= first")
        check(self.warm_up_steps >= 0, "warm_up_steps", self.warm_up_steps, "0 or more")
        check(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        check(self.clip > 0, "clip", self.clip, "above 0")
        check(self.precision in PRECISION, "precision", repr(self.precision), " or ".join(PRECISION))
        as_front_end(self.front_end, "front_end")
        check(self.size in SIZES, "size", repr(self.size), " or ".join(SIZES))
        check(self.distillation >= 0, "distillation", self.distillation, "0 or more")
        check(self.data in DATA, "data", repr(self.data), ", ".join(DATA))
        shares = [stage.share for stage in self.stages]
        check(abs(sum(shares) - 1) < 1e-6, "stages", f"shares {shares}", "one or more that add up to 1")
        levels = [stage.finest for stage in self.stages]
        check(all(a >= b for a, b in pairwise(levels)), "stages finest", levels, "never a coarser one later")


def packaged_recipe(name: str, kind: type[_Recipe]) -> _Recipe:
    """The recipe `name` of this package, of a `kind` as in `load_recipe`."""
    with resources.as_file(resources.files("usert.train") / "recipes" / f"{name}.toml") as path:
        return load_recipe(path, kind)


def load_recipe(path: Path, kind: type[_Recipe]) -> _Recipe:
    """Read a TOML recipe of a `kind`, a frozen dataclass.

    Errors: `RecipeError` for a missing file, bad TOML, unknown or ill-typed keys and impossible values.
    """
    tree = read_toml(path, "cannot read the recipe", error=RecipeError)
    try:
        return Schema(error=RecipeError).build(kind, tree)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error
