"""The provenance of weights: one line of JSON that is stored in their file.

Invariant: what is unknown (no git, no checkout) is null, never guessed.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, ClassVar, Protocol

import torch

from usert import __version__
from usert.machine import commit


class Recipe(Protocol):
    """The interface of a recipe: a dataclass with the seed of its random numbers."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def seed(self) -> int:
        """Seed of all random numbers of a run."""


def provenance(
    recipe: Recipe,
    *,
    made_by: str,
    steps: int,
    device: torch.device,
    start: str | None,
    start_recipe: str | None = None,
    **more: object,
) -> str:
    """One line of JSON with the recipe, the length of the run, versions and commit, after the values `more`.

    `made_by` is the command, `steps` counts optimiser steps, `start` is the hash of the weights that the run started
    from, None for random numbers, and `start_recipe` their own provenance, whose licence the new weights inherit.
    """
    history = {} if start_recipe is None else {"start_recipe": _tree(start_recipe)}
    tree = {
        "made_by": made_by,
        **more,
        **history,
        "start_sha256": start,
        "seed": recipe.seed,
        "steps": steps,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "usert": __version__,
        "torch": torch.__version__,
        "commit": commit(),
        "recipe": dataclasses.asdict(recipe),
    }
    return json.dumps(tree, ensure_ascii=False)


def _tree(line: str) -> object:
    """The JSON object in `line`, or the line itself."""
    try:
        return json.loads(line)
    except ValueError:
        return line
