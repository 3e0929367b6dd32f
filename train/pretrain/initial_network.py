"""The network that pre-training starts from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from usert.errors import WeightsError
from usert.network.liteflownet import LiteFlowNet
from usert.network.weights import load_weights

from .recipe import PretrainRecipe


def initial_network(recipe: PretrainRecipe, weights: Path | None) -> LiteFlowNet:
    """A random network, or that of the file `weights`, down to the finest level of the recipe's first stage.

    Finer levels of the file are left out, since a later stage grows them anew. Errors: `WeightsError` for a file that
    cannot be read, holds another kind of network, or lacks that level.
    """
    finest = recipe.stages[0].finest
    if weights is None:
        return LiteFlowNet(
            finest=finest,
            normalise_features=recipe.normalise_features,
            front_end=recipe.front_end,
            size=recipe.size,
        )
    network = load_weights(weights, finest=finest)
    if network.normalise_features != recipe.normalise_features:
        raise WeightsError(
            f"{weights}: got normalise_features {network.normalise_features}, expected "
            f"{recipe.normalise_features} as the recipe says: change the recipe"
        )
    if network.front_end != recipe.front_end:
        raise WeightsError(
            f"{weights}: got front end {network.front_end}, expected {recipe.front_end} as the recipe says: change "
            "front_end in the recipe"
        )
    if network.size != recipe.size:
        raise WeightsError(
            f"{weights}: got a network of size {network.size}, expected {recipe.size} as the recipe says"
        )
    return network


def seeded(seed: int, make: Callable[[], LiteFlowNet]) -> LiteFlowNet:
    """The network that `make` draws from `seed` alone; torch's own generator keeps its state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
