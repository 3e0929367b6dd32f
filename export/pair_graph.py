"""The torch graph of a network, by its front end, and that of a bundle."""

from __future__ import annotations

from typing import TypeAlias

from usert.bundle import Bundle
from usert.errors import WeightsError
from usert.network.liteflownet import LiteFlowNet
from usert.network.refine import RefinementKind, as_kind
from usert.network.weights import load_weights
from usert.strain import STRAIN_WINDOW_SAMPLES

from .baseband_graph import STRAIN_WINDOW, BasebandGraph, FollowGraph
from .graph import StrainGraph

PairGraph: TypeAlias = StrainGraph | BasebandGraph
AnyGraph: TypeAlias = PairGraph | FollowGraph


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


def reference_graph(bundle: Bundle) -> PairGraph:
    """The torch graph that the bundle's files were made from.

    Errors: `WeightsError` for weights that are damaged or of another front end than the manifest's.
    """
    manifest = bundle.manifest
    network = load_weights(bundle.folder / manifest.weights.file, finest=manifest.network.levels[1])
    if network.front_end != manifest.network.front_end:
        raise WeightsError(
            f"bundle {bundle.folder}: got weights of front end {network.front_end}, expected "
            f"{manifest.network.front_end} as its manifest says; export the bundle again"
        )
    return pair_graph(
        network,
        refinement=as_kind(manifest.refinement, f"bundle {bundle.folder}: refinement"),
        samples=manifest.strain_window_samples,
        wavelengths=manifest.strain_window_wavelengths or STRAIN_WINDOW,
    )
