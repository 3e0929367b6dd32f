"""The graph of a network, by its front end.

Knows which graph goes with which front end. Invariant: a graph computes what the network was trained on.
"""

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
    """In eval mode. The strain window is `samples` with `rf` and `wavelengths` with `baseband`."""
    if network.front_end == "baseband":
        return BasebandGraph(network, strain_window=wavelengths, refinement=refinement).eval()
    return StrainGraph(network, strain_window=samples, refinement=refinement).eval()
