"""The torch graph of a network, by its front end."""

from __future__ import annotations

from typing import TypeAlias

from usert.network.liteflownet import LiteFlowNet
from usert.network.refine import RefinementKind
from usert.strain import STRAIN_WINDOW_SAMPLES

from .baseband_graph import STRAIN_WINDOW, BasebandGraph
from .graph import StrainGraph

PairGraph: TypeAlias = StrainGraph | BasebandGraph


def pair_graph(
    network: LiteFlowNet,
    *,
    refinement: RefinementKind = "full",
    samples: int = STRAIN_WINDOW_SAMPLES,
    wavelengths: float = STRAIN_WINDOW,
) -> PairGraph:
    """Graph of `network` in eval mode, its strain window `samples` long with `rf`, `wavelengths` with `baseband`."""
    if network.front_end == "baseband":
        return BasebandGraph(network, strain_window=wavelengths, refinement=refinement).eval()
    return StrainGraph(network, strain_window=samples, refinement=refinement).eval()
