"""A trained network whose answers a smaller one learns from, beside the truth.

What no network can see, such as motion in decorrelated tissue, is in the truth and not in the teacher's answer (in the
manner of G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from usert.bundle import sha256_of
from usert.errors import OptionError, WeightsError
from usert.network.weights import load_weights, read_info

from .recipe import PretrainRecipe


class Teacher:
    """The network of a weights file, which stays as it is. Errors: `WeightsError` for one of another front end."""

    def __init__(self, weights: Path, recipe: PretrainRecipe, device: torch.device) -> None:
        info = read_info(weights)
        finest = max(recipe.stages[-1].finest, info.finest)
        network = load_weights(weights, finest=finest)
        if network.front_end != recipe.front_end:
            raise WeightsError(
                f"{weights}: got a teacher of the front end {network.front_end}, expected {recipe.front_end} as in "
                "the recipe"
            )
        self.sha256 = sha256_of(weights)
        self.provenance = {"teacher_sha256": self.sha256, "teacher_recipe": info.recipe}
        """What the weights that learn from it say of it: they inherit its licence."""
        self._precision = recipe.precision
        self._network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def answers(self, first: Tensor, second: Tensor) -> dict[int, Tensor]:
        """Flow (B, 2, h, w) in network units by level, for channels (B, 3, N, M) of both frames."""
        kind = first.device.type
        with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=self._precision == "bf16"):
            outputs = self._network.cascade(first, second)
        return {int(name): flows[2] for name, flows in zip(self._network.levels, outputs, strict=True)}


def open_teacher(recipe: PretrainRecipe, weights: Path | None, device: torch.device) -> Teacher | None:
    """The teacher in the file `weights`, None for a recipe without distillation.

    Errors: `OptionError` for a file that the recipe does not ask for, or that it lacks; `WeightsError` as `Teacher`.
    """
    if (weights is None) == (recipe.distillation > 0):
        raise OptionError(
            f"--teacher: got {weights or 'none'} with distillation {recipe.distillation:g} in the recipe, expected "
            "one exactly when distillation is above 0"
        )
    return None if weights is None else Teacher(weights, recipe, device)
