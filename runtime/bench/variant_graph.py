"""The graph of a bundle that a variant runs, and what it costs."""

from __future__ import annotations

from usert.bundle import Bundle
from usert.bundle.manifest import Graph
from usert.frame import Shape
from usert.front_end import TYPICAL, grid_rows

from ..engines.graph_choice import choose_graph
from .roofline import Cost, graph_cost
from .worker import Variant


def graphs_of(bundle: Bundle, variant: Variant, shape: Shape) -> list[tuple[Graph, Shape]]:
    """The graphs that run frames of `shape` (N, M), each with the shape of its frames; that which follows last.

    Errors: `BundleError` for frames that no graph takes.
    """
    manifest = bundle.manifest
    rows = grid_rows(shape[0], TYPICAL) if manifest.network.front_end == "baseband" else None
    found = [choose_graph(manifest.graphs, shape, (variant.precision,), grid_rows=rows)]
    if variant.follow:
        found.append(choose_graph(manifest.follow, shape, ("float32",), grid_rows=rows))
    return found


def cost_of(bundle: Bundle, variant: Variant, shape: Shape) -> Cost:
    """Cost of the graph that runs most: of a variant that follows, the graph for that.

    Errors: `BundleError`, as `graphs_of`; `EngineError`, `MissingExtraError` where it cannot be counted.
    """
    graph, whole = graphs_of(bundle, variant, shape)[-1]
    return graph_cost(bundle.path_of(graph), whole)
