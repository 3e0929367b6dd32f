"""The choice of a bundle's graph for a frame: one of its shape, one that it can be padded to, or the one for any.

A graph pads every frame to sides that are multiples of 32, so a frame padded to that beforehand gets the same answer
from the graph of the larger shape. Padded further it does not: the network takes the end of the echoes for a
structure (.03 to .5 samples of error at 1 to 2 % of strain, `benchmarks/RESULTS.md`), so that is not done.

Invariant: the chosen graph takes frames of the shape returned with it, which is the frame's own or that rounded up to
multiples of 32.
"""

from __future__ import annotations

from collections.abc import Sequence

from usert.bundle.manifest import PRECISIONS, Graph
from usert.errors import BundleError
from usert.frame import Shape

MULTIPLE = 32
"""Sides of a frame inside a graph are multiples of this."""


def choose_graph(
    graphs: Sequence[Graph], shape: Shape, precisions: Sequence[str], *, grid_rows: int | None = None
) -> tuple[Graph, Shape]:
    """The graph for frames of `shape` (N, M), and the shape that they must be padded to for it.

    With `grid_rows`, the rows of the depth grid of a front end that has one, a graph of another grid does not fit, and
    frames are not padded: below their end the grid would show the padding for tissue.

    `precisions` are those wanted, best first; the shape counts for more. Of several, and without such a grid, int8 is
    not taken for frames that are longer than any it was proven on: the deeper, the more tissue moves, and its ranges
    end there (at 1920 x 768 it fails the gate, `benchmarks/RESULTS.md`). With a grid the network sees what the coarse
    map leaves, which does not grow with depth. Errors: `BundleError` with what there is.
    """
    usable = [graph for graph in graphs if graph.precision in precisions]
    if not usable:
        there = ", ".join(sorted({graph.precision for graph in graphs}))
        raise BundleError(
            f"precision: got a bundle of {there}, expected {' or '.join(precisions)}; export it with "
            f"--precision {precisions[0]}"
        )
    fits: list[Shape | None] = [shape, None] if grid_rows else [shape, rounded_up(shape), None]
    fitting = [graph for graph in usable if graph.shape in fits and graph.grid_rows in (None, grid_rows)]
    if not fitting:
        known = ", ".join(
            dict.fromkeys(f"{s[0]}x{s[1]}" for graph in usable if (s := graph.shape) is not None)
        )
        raise BundleError(
            f"frame: got {shape[0]}x{shape[1]}, expected {known}, or up to 31 samples or lines less; export the "
            f"bundle with --shape {shape[0]}x{shape[1]}, or for any shape"
        )
    proven = max((graph.speed.shape[0] for graph in usable if graph.precision == "int8"), default=0)

    def rank(graph: Graph) -> tuple[int, bool, int]:
        of_any = graph.precision == "int8" and graph.shape is None
        too_long = of_any and grid_rows is None and shape[0] > proven
        return fits.index(graph.shape), too_long, precisions.index(graph.precision)

    best = min(fitting, key=rank)
    return best, best.shape or shape


def rounded_up(shape: Shape) -> Shape:
    """The shape with both sides rounded up to multiples of 32."""
    return -(-shape[0] // MULTIPLE) * MULTIPLE, -(-shape[1] // MULTIPLE) * MULTIPLE


def by_preference(precision: str | None, preferred: Sequence[str]) -> tuple[str, ...]:
    """`precision` alone if it is given; else the preferred ones and then the rest. Errors: `BundleError`."""
    if precision is None:
        return (*preferred, *(name for name in PRECISIONS if name not in preferred))
    if precision not in PRECISIONS:
        raise BundleError(f"precision: got {precision!r}, expected {', '.join(PRECISIONS)}")
    return (precision,)
