"""Plans of a bundle, which TensorRT builds of its graphs, and the gate for those that can be run here.

Knows which graphs plans are built of; the runner of a plan is passed in. Invariant: a plan that was run is within the
tolerances of its graph's precision; one that was not has no accuracy in the manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path

from usert.bundle import Bundle, sha256_of
from usert.bundle.card import accuracy_line
from usert.bundle.manifest import Graph, Plan
from usert.frame import Shape
from usert.machine import gpu_name

from .gate import FramePair, Run, compare, judge, tolerances
from .pair_graph import PairGraph
from .speed import measured
from .tensorrt_graph import build

SUITABLE = ("float16", "float32")
"""Precisions of a graph that a plan is built of, best first."""
OpenPlan = Callable[[Bundle, Plan], AbstractContextManager[Run | None]]
"""Opener of a plan: a context with its runner, or None where nothing can run it."""
Report = Callable[[str], None]


def build_plans(
    graphs: Sequence[Graph],
    stored: Path,
    modules: Sequence[str],
    wanted: tuple[Shape, Shape] | None,
    report: Report,
) -> Iterator[Plan]:
    """Build plans of the graphs that suit a GPU, by each of `modules`, beside the weights file `stored`.

    `wanted` is the range of frames (N, M), smallest and largest, of a plan of the graph for any shape; None for no such
    plan. Errors: those of `build`.
    """
    there = {graph.precision for graph in graphs}
    precision = next((name for name in SUITABLE if name in there), None)
    for module in dict.fromkeys(modules):
        for graph in graphs:
            between = wanted if graph.shape is None else (graph.shape, graph.shape)
            if graph.precision != precision or between is None:
                continue
            path = stored.with_name(f"{Path(graph.file).stem}.{module}.plan")
            report(f"{path.name}: building")
            built = build(
                stored.with_name(graph.file),
                stored,
                module=module,
                between=between if graph.shape is None else None,
            )
            path.write_bytes(built.plan)
            yield Plan(
                file=path.name,
                graph=graph.file,
                library=module,
                version=built.version,
                gpu=gpu_name() if module == "tensorrt" else None,
                least=between[0],
                most=between[1],
                sha256=sha256_of(path),
                bytes=len(built.plan),
                seconds=round(built.seconds, 1),
                accuracy=None,
                speed=None,
            )


def prove_plans(
    bundle: Bundle,
    reference: PairGraph,
    open_plan: OpenPlan,
    recorded: Sequence[FramePair],
    report: Report,
) -> Iterator[Plan]:
    """The plans of `bundle`, with accuracy and speed if `open_plan` can run them.

    Errors: `BundleError` for a figure out of tolerance.
    """
    precisions = {graph.file: graph.precision for graph in bundle.manifest.graphs}
    for plan in bundle.manifest.plans:
        with open_plan(bundle, plan) as run:
            if run is None:
                yield plan
                continue
            limits = precisions[plan.graph]
            accuracy = compare(
                reference, run, plan.most, [pair for pair in recorded if pair.reference.shape == plan.most]
            )
            report(f"{plan.file}: {accuracy_line(asdict(accuracy), tolerances(limits))}")
            judge(accuracy, plan.file, limits)
            speed = measured(run, plan.most, engine=f"{plan.library} {plan.version}", machine=gpu_name())
        yield replace(plan, accuracy=asdict(accuracy), speed=speed)
