"""A bundle compared with torch again: on another machine, with another library, on a site's recordings.

Knows bundles and the gate; the runner of the graphs is passed in. The bundle is only read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from usert.bundle import Bundle
from usert.bundle.card import accuracy_line
from usert.bundle.manifest import Graph
from usert.errors import OptionError
from usert.recording import Recording
from usert.runtime.engines.int16 import to_int16

from .baseband_graph import BasebandGraph, FollowGraph
from .gate import Accuracy, FramePair, Run, compare, judge, tolerances
from .onnx_graph import EXAMPLE_SHAPE
from .pair_graph import AnyGraph, reference_graph
from .speed import measured

RECORDED_PAIRS = 3
"""Pairs of each recording in the gate, spread over it."""


def only(bundle: Bundle, graph: Graph) -> Bundle:
    """A copy of `bundle` in memory with no graph of its kind but this, and the plans that were built of it."""
    if graph in bundle.manifest.follow:
        return replace(bundle, manifest=replace(bundle.manifest, follow=(graph,)))
    plans = tuple(plan for plan in bundle.manifest.plans if plan.graph == graph.file)
    return replace(bundle, manifest=replace(bundle.manifest, graphs=(graph,), plans=plans))


def reference_of(bundle: Bundle, graph: Graph) -> AnyGraph:
    """The torch graph that `graph` of `bundle` was made from. Errors: `WeightsError`."""
    whole = reference_graph(bundle)
    if graph in bundle.manifest.follow and isinstance(whole, BasebandGraph):
        return FollowGraph(whole)
    return whole


def verify_graph(
    bundle: Bundle,
    graph: Graph,
    run: Run,
    *,
    name: str,
    recorded: Sequence[FramePair] = (),
    report: Callable[[str], None] = lambda line: None,
) -> Accuracy:
    """Compare one graph of `bundle`, run by `run` on frames of its shape, with torch.

    `name` is that of the library, for messages; `report` gets a line. Errors: `BundleError` for a figure out of
    tolerance.
    """
    reference, shape = reference_of(bundle, graph), graph.shape or EXAMPLE_SHAPE
    fitting = [pair for pair in recorded if graph.shape in (None, pair.reference.shape)]
    accuracy = compare(reference, run, shape, fitting)
    line = f"{graph.file}, {name}: {accuracy_line(asdict(accuracy), tolerances(graph.precision))}"
    if graph not in bundle.manifest.follow:  # of which torch finds the start inside of `run`
        line += f", {measured(run, shape, engine=name).milliseconds:.0f} ms"
    report(line)
    judge(accuracy, f"{graph.file}, {name}", graph.precision)
    return accuracy


def check_fit(recorded: Sequence[FramePair], shapes: Sequence[tuple[int, int] | None]) -> None:
    """Check that each of the pairs `recorded` suits a graph, of `shapes` (N, M), or None for any.

    Errors: `OptionError` that names the shape of a pair without a graph.
    """
    for reference, *_ in recorded:
        if None not in shapes and reference.shape not in shapes:
            known = ", ".join(f"{shape[0]}x{shape[1]}" for shape in shapes if shape is not None)
            raise OptionError(
                f"--recording: got frames of {reference.shape[0]}x{reference.shape[1]}, expected {known}, or a "
                "graph for any shape"
            )


def recorded_pairs(paths: Sequence[Path], *, least_rows: int) -> list[FramePair]:
    """Up to three pairs of neighbouring frames of each recording, as int16.

    Errors: `RecordingError`; `OptionError` for a recording of fewer than two frames or `least_rows` samples.
    """
    pairs = []
    for path in paths:
        with Recording(path, as_rf=True) as recording:
            if len(recording) < 2 or recording.shape[0] < least_rows:
                raise OptionError(
                    f"--recording: {path}: got {len(recording)} frames of {recording.shape[0]} samples, "
                    f"expected at least 2 of {least_rows}"
                )
            last = len(recording) - 2
            chosen = sorted({round(last * share / (RECORDED_PAIRS - 1)) for share in range(RECORDED_PAIRS)})
            frames = [(recording.frame(k).samples, recording.frame(k + 1).samples) for k in chosen]
            pairs += [FramePair(*to_int16(*pair), recording.scan.cycles_per_sample) for pair in frames]
    return pairs
