"""The recipe of unsupervised fine-tuning, by which `usert train` trains on a site's own recordings.

[1] is the paper, Tehrani, Mirzaei and Rivaz, MICCAI 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import get_args

from usert.network.checkpoint import Checkpointing
from usert.network.refine import RefinementKind

from ..check import check
from ..pretrain.recipe import LEVELS, PRECISION
from .augment import AugmentConfig
from .loss_config import LossConfig
from .selection import SelectionConfig

CHECKPOINTING: tuple[str, ...] = get_args(Checkpointing)
REFINEMENTS: tuple[str, ...] = get_args(RefinementKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceConfig:
    """Limits of how much worse than the starting weights the new ones may be on held-out pairs, figure by figure.

    Errors: `RecipeError` for an impossible value.
    """

    ncc: float = 0.002
    """Largest loss of the median local correlation after the warp."""
    snre: float = 0.02
    """Largest relative loss of the median local SNRe."""
    consistency: float = 0.05
    """Largest relative growth of the median forward-backward error, beyond a hundredth of a sample."""
    rmse: float = 0.02
    """Largest relative growth of the axial RMSE, where a recording has truth."""
    found: float = 0.005
    """Largest loss of the share of pixels found: right both ways within a quarter of a wavelength, and readable."""
    pairs: int = 12
    """Held-out pairs compared at most."""
    refinement: str = "full"
    """Refinement after either network in the comparison, as in the export: `off`, `cheap` or `full`."""
    finest: int | None = None
    """Level at which both networks stop; None for that of an export (`usert.network.refine`)."""

    def __post_init__(self) -> None:
        for name in ("ncc", "snre", "consistency", "rmse", "found"):
            value = getattr(self, name)
            check(0 <= value < math.inf, f"acceptance.{name}", value, "0 or more")
        check(self.pairs >= 1, "acceptance.pairs", self.pairs, "1 or more")
        check(self.finest in (None, *LEVELS), "acceptance.finest", self.finest, "a level from 2 to 6")
        known = self.refinement in REFINEMENTS
        check(known, "acceptance.refinement", repr(self.refinement), ", ".join(REFINEMENTS))


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneRecipe:
    """Recipe of unsupervised fine-tuning, by default the paper's, [1] 2.3, where it gives a number.

    Errors: `RecipeError` for an impossible value.
    """

    epochs: int = 20
    learning_rate: float = 4e-7
    seed: int = 1
    accumulate: int = 1
    """Pairs an optimiser step, over all processes: the batch is 1 a process, as in [1]."""
    clip: float = 1.0
    """Largest gradient norm."""
    precision: str = "bf16"
    """Arithmetic of the convolutions: `bf16` (autocast) or `fp32`."""
    checkpointing: str = "blocks"
    """What is recomputed in the backward pass: `none`, `blocks` or `fine` (`usert.network.checkpoint`)."""
    held_out: float = 0.2
    """Share of the recordings that is held out for acceptance, unless recordings are named for it."""
    loss: LossConfig = field(default_factory=LossConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    acceptance: AcceptanceConfig = field(default_factory=AcceptanceConfig)

    def __post_init__(self) -> None:
        check(self.epochs >= 1, "epochs", self.epochs, "1 or more")
        check(0 < self.learning_rate < 1, "learning_rate", self.learning_rate, "above 0, below 1")
        check(self.seed >= 0, "seed", self.seed, "0 or more")
        check(self.accumulate >= 1, "accumulate", self.accumulate, "1 or more")
        check(self.clip > 0, "clip", self.clip, "above 0")
        check(self.precision in PRECISION, "precision", repr(self.precision), " or ".join(PRECISION))
        known = self.checkpointing in CHECKPOINTING
        check(known, "checkpointing", repr(self.checkpointing), ", ".join(CHECKPOINTING))
        check(0 < self.held_out < 1, "held_out", self.held_out, "above 0, below 1")
