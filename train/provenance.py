"""The provenance of weights: one line of JSON that is stored in their file.

Invariant: what is not known (no git, no checkout) is null, never guessed.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, ClassVar, Protocol

import torch

from usert import __version__
from usert.machine import commit


class Recipe(Protocol):
    """What every recipe has: it is a dataclass, and fixes its random numbers."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def seed(self) -> int: ...


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
    """Recipe, length of the run, versions and commit, after what else is known of it.

    `made_by`: the command. `start`: hash of the weights that the run started from, None for random numbers;
    `start_recipe`: their own provenance, whose licence these inherit.
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
