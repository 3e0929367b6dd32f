"""Where weights come from, as one line of JSON that travels in their file.

Knows nothing of training. Invariant: what cannot be told (no git, no checkout) is null, never guessed.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

import torch

from usert import __version__

from .recipe import PretrainRecipe


def provenance(recipe: PretrainRecipe, *, steps: int, elapsed_s: float, device: torch.device) -> str:
    """Recipe with seed and generator ranges, length of the run, versions and commit."""
    told = {
        "made_by": "usert pretrain",
        "data": "generated pairs (usert.train.pairs)",
        "seed": recipe.seed,
        "steps": steps,
        "minutes": round(elapsed_s / 60, 2),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "usert": __version__,
        "torch": torch.__version__,
        "commit": commit(Path(__file__).resolve()),
        "recipe": dataclasses.asdict(recipe),
    }
    return json.dumps(told, ensure_ascii=False)


def commit(source: Path) -> str | None:
    """Commit of the checkout that tracks the file `source`, with `-dirty` behind it where it was changed."""
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
