"""Where pre-training takes its pairs from, as the network sees them: three channels of two frames, and truth.

There are three sources: RF of the simulated scanner (`usert.train.pairs`), textured scenes (`usert.train.scenes`), and
a folder in the format of the FlyingChairs (`usert.train.flow_folder`). Knows nothing of the network or the
loss. Invariant: what a source draws depends on the generator and the stage that it is handed, and on nothing before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from usert.errors import OptionError
from usert.network.channels import Channels

from .flow_folder import FlowFolder
from .pairs import PairRanges, random_pairs
from .recipe import PretrainRecipe, Stage
from .scenes import random_scenes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A batch as the network takes it."""

    first: Tensor
    """(B, 3, N, M) float32."""
    second: Tensor
    """(B, 3, N, M) float32."""
    truth: Tensor
    """(B, 2, N, M) float32: axial in samples, lateral in lines, second(r + truth(r)) ≈ first(r)."""


Source = Callable[[np.random.Generator, Stage], Sample]


def open_source(recipe: PretrainRecipe, device: torch.device, folder: Path | None) -> Source:
    """The source that `recipe.data` names; `folder` goes with "folder" alone.

    Errors: `OptionError` for a folder that the recipe lacks or does not ask for, or that holds no pair.
    """
    if (recipe.data == "folder") != (folder is not None):
        raise OptionError(
            f"data folder: got {folder or 'none'} with a recipe for {recipe.data!r}, expected one exactly when "
            'the recipe says data = "folder"'
        )
    if folder is not None:
        return _from_folder(FlowFolder(folder), device)
    if recipe.data == "scenes":
        return _from_scenes(device)
    return _from_scanner(recipe.ranges, device)


def _from_scanner(ranges: PairRanges, device: torch.device) -> Source:
    channels = Channels().to(device)

    def draw(rng: np.random.Generator, stage: Stage) -> Sample:
        pair = random_pairs(
            rng, ranges, batch=stage.batch, shape=stage.shape, diverse=stage.diverse, device=device
        )
        with torch.no_grad():
            first, second = channels(pair.first, pair.second)
        return Sample(first=first, second=second, truth=pair.truth)

    return draw


def _from_scenes(device: torch.device) -> Source:
    def draw(rng: np.random.Generator, stage: Stage) -> Sample:
        scene = random_scenes(rng, batch=stage.batch, shape=stage.shape, diverse=stage.diverse, device=device)
        return Sample(first=scene.first, second=scene.second, truth=scene.truth)

    return draw


def _from_folder(pairs: FlowFolder, device: torch.device) -> Source:
    def draw(rng: np.random.Generator, stage: Stage) -> Sample:
        first, second, truth = pairs.draw(rng, batch=stage.batch, shape=stage.shape)
        return Sample(first=first.to(device), second=second.to(device), truth=truth.to(device))

    return draw
