"""The provenance of weights: one line of JSON that is stored in their file.

Invariant: what is not known (no git, no checkout) is null, never guessed.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

import torch

from usert import __version__

from .finetune.recipe import FineTuneRecipe
from .pretrain.recipe import PretrainRecipe

DATA = {
    "scanner": "generated pairs (usert.train.pretrain.pairs)",
    "scenes": "textured scenes (usert.train.pretrain.scenes)",
    "folder": "a folder of image pairs with flow",
}


def provenance(
    recipe: PretrainRecipe,
    *,
    steps: int,
    elapsed_s: float,
    device: torch.device,
    start: str | None,
) -> str:
    """Provenance of pre-training: recipe with seed and ranges, length of the run, versions and commit.

    `start` is the hash of the weights that the run started from, None for random numbers.
    """
    told: dict[str, object] = {
        "made_by": "usert pretrain",
        "data": DATA[recipe.data],
        "minutes": round(elapsed_s / 60, 2),
    }
    return _line(told, recipe, steps, device, start)


def finetune_provenance(
    recipe: FineTuneRecipe,
    *,
    steps: int,
    device: torch.device,
    start: str | None,
    start_recipe: str,
    pairs: int,
    recordings: int,
) -> str:
    """Provenance of fine-tuning, with that of its start, whose licence it inherits.

    Of the data it holds only the amount: names of recordings may be private.
    """
    told: dict[str, object] = {
        "made_by": "usert train",
        "data": f"{pairs} unlabelled pairs of {recordings} recordings",
        "start_recipe": _tree(start_recipe),
    }
    return _line(told, recipe, steps, device, start)


def _tree(line: str) -> object:
    """The JSON object in `line`, or the line itself."""
    try:
        return json.loads(line)
    except ValueError:
        return line


def _line(
    told: dict[str, object],
    recipe: PretrainRecipe | FineTuneRecipe,
    steps: int,
    device: torch.device,
    start: str | None,
) -> str:
    told |= {
        "start_sha256": start,
        "seed": recipe.seed,
        "steps": steps,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "usert": __version__,
        "torch": torch.__version__,
        "commit": commit(Path(__file__).resolve()),
        "recipe": dataclasses.asdict(recipe),
    }
    return json.dumps(told, ensure_ascii=False)


def commit(source: Path) -> str | None:
    """Commit of the checkout that tracks the file `source`, with `-dirty` where it was changed; None without git."""
    try:
        # an installed package may lie inside somebody else's checkout: that commit would mean nothing
        for arguments in (
            ("ls-files", "--error-unmatch", source.name),
            ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"),
        ):
            answer = subprocess.run(
                ["git", "-C", str(source.parent), *arguments],
                capture_output=True, text=True, timeout=30, check=True,
            )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
