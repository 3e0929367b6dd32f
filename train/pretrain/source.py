"""The sources of pre-training pairs: input channels of two frames, and truth.

There are three sources: RF of the simulated scanner (`pairs`), textured scenes (`scenes`), and a folder in the format
of the FlyingChairs (`flow_folder`). Invariant: what a source draws depends only on the generator and the stage passed
to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from usert.errors import OptionError
from usert.front_end import SAMPLES_PER_WAVELENGTH, depth_grid
from usert.network.baseband import baseband, halved
from usert.network.channels import Channels
from usert.network.coarse import CoarseDisplacement
from usert.network.companding import companded_channels, moved
from usert.network.grids import at_depths, block_mean
from usert.network.warp import warp

from .coarse import ALONE, coarse_map
from .flow_folder import FlowFolder
from .pairs import random_pairs
from .ranges import PairRanges
from .recipe import PretrainRecipe, Stage
from .scenes import random_scenes

_ITERATIONS = 4
"""Fixed-point iterations of `remaining`."""
NOMINAL = 0.29
"""Centre frequency over sampling frequency that grids of generated pairs are made for: they are sampled no finer than
they need, since on the grid the sampling does not matter. What a pair's own frequency differs from it stands for
scanners whose stated centre frequency is wrong."""

LOST = 0.05
"""Share of a pair beyond the network's reach from which on its coarse map is not used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A batch of pairs as input of the network, with truth."""

    first: Tensor
    """Channels (B, 3, N, M) float32 of the reference frames."""
    second: Tensor
    """Channels (B, 3, N, M) float32 of the current frames."""
    truth: Tensor
    """Displacement (B, 2, N, M) float32: axial in samples, lateral in lines, second(r + truth(r)) ≈ first(r)."""


Source = Callable[[np.random.Generator, Stage], Sample]


def open_source(recipe: PretrainRecipe, device: torch.device, folder: Path | None) -> Source:
    """Open the source that `recipe.data` names; `folder` belongs to "folder" only.

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
    if recipe.front_end == "baseband":
        return _in_baseband(recipe.ranges, device)
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


def _in_baseband(ranges: PairRanges, device: torch.device) -> Source:
    found = CoarseDisplacement().to(device)

    def one(rng: np.random.Generator, stage: Stage) -> tuple[Tensor, Tensor, Tensor]:
        height = stage.shape[0]
        rows = math.ceil(2 * height / (SAMPLES_PER_WAVELENGTH * NOMINAL))
        shape = rows, stage.shape[1]
        pair = random_pairs(rng, ranges, batch=1, shape=shape, diverse=stage.diverse, device=device)
        depths = torch.from_numpy(depth_grid(2 * height, NOMINAL)).to(device)
        signals = baseband(pair.first, pair.second, depths)
        truth = at_depths(pair.truth, depths)
        unit = NOMINAL * SAMPLES_PER_WAVELENGTH  # rows of the depth grid a sample
        truth = torch.cat((unit * truth[:, :1], truth[:, 1:]), dim=1)
        made = coarse_map(rng, truth)
        half, truth, coarse = halved(signals), _in_halved_rows(truth), _in_halved_rows(made)
        if rng.random() >= stage.made_coarse:
            live = found(half.first, half.second)
            lost = (live - truth)[:, 0].abs() > ALONE * SAMPLES_PER_WAVELENGTH / 2
            # beyond that it is further off than the network can look, and nothing is to be learnt from it
            coarse = live if lost.float().mean() <= LOST else coarse
        first, second = companded_channels(half, moved(half, coarse), coarse)
        return first, second, remaining(truth, coarse)

    def draw(rng: np.random.Generator, stage: Stage) -> Sample:
        with torch.no_grad():
            drawn = [one(rng, stage) for _ in range(stage.batch)]
        first, second, truth = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        return Sample(first=first, second=second, truth=truth)

    return draw


def _in_halved_rows(displacement: Tensor) -> Tensor:
    """A displacement (B, 2, K, M) on the depth grid brought to the network's, (B, 2, K / 2, M), in its rows."""
    half = block_mean(displacement, 2)
    return torch.cat((half[:, :1] / 2, half[:, 1:]), dim=1)


def remaining(truth: Tensor, coarse: Tensor) -> Tensor:
    """The displacement d' that companding leaves of a true displacement d: d'(r) + coarse(r + d'(r)) = d(r).

    Shapes: two (B, 2, H, M), axial in rows, lateral in lines → (B, 2, H, M).
    """
    rest = truth - coarse
    for _ in range(_ITERATIONS):
        rest = truth - warp(coarse, rest.flip(1), outside="border")
    return rest


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
