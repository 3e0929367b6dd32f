"""The export of a weights file: write the graphs, prove each against torch, then put the bundle in place.

Invariant: a bundle appears whole and proven or not at all; an older one stays until then.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from usert import __version__
from usert.bundle import Bundle, sha256_of, write_bundle
from usert.bundle.card import accuracy_line
from usert.bundle.manifest import PRECISIONS, Graph, Input, Manifest, Network, Weights
from usert.errors import OptionError, require
from usert.frame import Shape
from usert.front_end import START_SHAPE, TYPICAL, graph_inputs, grid_rows
from usert.machine import cpu_name, gpu_name
from usert.network.half import in_half
from usert.network.liteflownet import LiteFlowNet
from usert.network.refine import RefinementKind, finest_before
from usert.network.weights import OURS, load_published, load_weights, read_info, save_weights
from usert.strain import STRAIN_WINDOW_SAMPLES

from .baseband_graph import BasebandGraph, FollowGraph
from .gate import FramePair, compare, judge, pair_inputs, tolerances
from .graph import QUALITY_WINDOW
from .int8 import RANGES_SHAPE, quantised
from .onnx_graph import EXAMPLE_SHAPE, OPSET, save_onnx, trace_onnx, write_onnx
from .onnx_session import open_onnx
from .pair_graph import AnyGraph, PairGraph, pair_graph
from .plans import SUITABLE, OpenPlan, Report, build_plans, prove_plans
from .speed import measured
from .tensorrt_graph import MODULES, check_range
from .trained_for import trained_for
from .verify import check_fit

WEIGHTS = "weights.safetensors"
MODEL_CARD = "MODEL_CARD.md"
LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """The graphs and plans of a bundle.

    Errors: `OptionError` for values that are impossible or contradict each other.
    """

    shapes: Sequence[Shape] = ()
    """Shapes (N, M) of the frames to make a faster graph for."""
    any_shape: bool = True
    """Whether to make the graph for frames of any shape."""
    precisions: Sequence[str] = ("float32",)
    """Precisions, of `usert.bundle.manifest.PRECISIONS`: each shape gets a graph in each."""
    finest: int | None = None
    """Level at which the network stops, each about three times faster; None for the finest one of the weights, or with
    full refinement, which makes up for the rest (`benchmarks/RESULTS.md`), 3 with the front end `rf` and 4 with
    `baseband`."""
    strain_window: int = STRAIN_WINDOW_SAMPLES
    """Length of the strain window in samples at 40 MHz and 6.5 MHz, odd; `baseband` takes as many wavelengths."""
    refinement: RefinementKind = "full"
    """Refinement after the network (`usert.network.refine`)."""
    follow: bool = False
    """Whether to make graphs for pairs that move as the image before did, too, of the front end `baseband`."""
    plans: Sequence[str] = ()
    """Libraries, of `usert.bundle.manifest.TENSORRTS`, that build plans of the graphs of one shape."""
    plan_range: tuple[Shape, Shape] | None = None
    """Smallest and largest frame, sides multiples of 32, of a plan of the graph for any shape; None for no such plan.
    """

    def __post_init__(self) -> None:
        for rows, lines in self.shapes:
            if rows < self.strain_window:
                raise OptionError(
                    f"--shape: got {rows}x{lines}, expected at least {self.strain_window} samples along depth: "
                    "the strain window"
                )
        for precision in self.precisions:
            if precision not in PRECISIONS:
                raise OptionError(f"--precision: got {precision!r}, expected {', '.join(PRECISIONS)}")
        if not self.precisions:
            raise OptionError(f"--precision: got none, expected one or more of {', '.join(PRECISIONS)}")
        if not self.any_shape and not self.shapes:
            raise OptionError("--no-any-shape: got no --shape either, expected at least one graph to make")
        for module in self.plans:
            if module not in MODULES:
                raise OptionError(f"--plan: got {module!r}, expected {' or '.join(MODULES)}")
        if self.plans and not set(SUITABLE) & set(self.precisions):
            raise OptionError(
                f"--plan: got no --precision of {' or '.join(SUITABLE)}, expected one: plans are made of those"
            )
        if self.plan_range is not None and not (self.any_shape and self.plans):
            raise OptionError("--plan-range: got no --plan or no graph of any shape, expected both")
        check_range(self.plan_range)

    @property
    def wavelengths(self) -> float:
        """The strain window in wavelengths, cycles of the echo."""
        return round(self.strain_window * TYPICAL, 1)

    @property
    def wanted(self) -> list[Shape | None]:
        """Shapes of the graphs; None for any shape."""
        return [*([None] if self.any_shape else []), *dict.fromkeys(self.shapes)]


def export_bundle(
    weights: Path,
    folder: Path,
    config: ExportConfig,
    *,
    model_card: Path | None = None,
    recorded: Sequence[FramePair] = (),
    open_plan: OpenPlan = lambda bundle, plan: nullcontext(),
    report: Report = lambda line: None,
) -> Bundle:
    """Make the bundle `folder` from a weights file.

    `recorded` are pairs of frames to prove the graphs on beside the simulated ones; `open_plan` opens a plan to run it;
    `report` gets a line for each step. Errors: `WeightsError`, `BundleError`, `OptionError` for recorded pairs that
    suit no graph, `MissingExtraError` for plans whose library is absent.
    """
    check_fit(recorded, config.wanted)
    for module in config.plans:
        require(module, MODULES[module])
    with tempfile.TemporaryDirectory(prefix="usert-export-") as scratch:
        network, stored, recipe = _network(weights, config, Path(scratch))
        if config.follow and (network.front_end != "baseband" or config.refinement == "off"):
            got = f"front end {network.front_end} and refinement {config.refinement}"
            raise OptionError(f"--follow: got {got}, expected baseband and cheap or full")
        graphs = tuple(_graphs(network, config, stored, recorded, report))
        follow = tuple(_follow_graphs(network, config, stored, recorded, report)) if config.follow else ()
        plans = tuple(build_plans(graphs, stored, config.plans, config.plan_range, report))
        if model_card is not None:
            shutil.copyfile(model_card, stored.with_name(MODEL_CARD))
        manifest = Manifest(
            usert_version=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            network=Network(
                name="LiteFlowNet" if network.size == "full" else f"LiteFlowNet {network.size}",
                front_end=network.front_end,
                levels=(6, network.finest),
                normalise_features=network.normalise_features,
                parameters=sum(parameter.numel() for parameter in network.parameters()),
            ),
            weights=Weights(
                file=WEIGHTS,
                sha256=sha256_of(stored),
                recipe=recipe,
                model_card=MODEL_CARD if model_card else None,
            ),
            input=Input(trained_for=trained_for(recipe)),
            refinement=config.refinement,
            strain_window_samples=config.strain_window,
            strain_window_wavelengths=config.wavelengths if network.front_end == "baseband" else None,
            quality_window=QUALITY_WINDOW,
            opset=OPSET,
            graphs=graphs,
            follow=follow,
            plans=plans,
            reference=f"torch {torch.__version__}, float32",
            tolerances={graph.precision: tolerances(graph.precision) for graph in (*graphs, *follow)},
            libraries=versions(),
            machine=cpu_name(),
            gpu=gpu_name(),
        )
        files = [stored.with_name(name) for name in manifest.files]
        if plans:
            unproven = write_bundle(Path(scratch) / "unproven", manifest, files)
            reference = strain_graph(network, config)
            proven = prove_plans(unproven, reference, open_plan, recorded, report)
            manifest = replace(manifest, plans=tuple(proven))
        return write_bundle(folder, manifest, files)


def strain_graph(network: LiteFlowNet, config: ExportConfig) -> PairGraph:
    """The torch graph of `network` with the refinement and the windows of `config`."""
    return pair_graph(
        network, refinement=config.refinement, samples=config.strain_window, wavelengths=config.wavelengths
    )


def _network(weights: Path, config: ExportConfig, scratch: Path) -> tuple[LiteFlowNet, Path, str]:
    """The network as its weights are stored in the bundle, that file in `scratch`, and the recipe."""
    stored, finest = scratch / WEIGHTS, config.finest
    if weights.suffix == OURS:
        info = read_info(weights)
        if finest is None:
            finest = finest_before(config.refinement, info.front_end, info.finest)
        shutil.copyfile(weights, stored)
        return load_weights(weights, finest=finest), stored, info.recipe
    if finest is None:
        finest = finest_before(config.refinement, "rf", 2)
    recipe = f"published weights, research use only: {weights.name}"
    save_weights(load_published(weights, finest=finest), stored, recipe=recipe)
    return load_weights(stored), stored, recipe  # what float16 has made of them


def _graphs(
    network: LiteFlowNet,
    config: ExportConfig,
    stored: Path,
    recorded: Sequence[FramePair],
    report: Report,
) -> Iterator[Graph]:
    """Each shape in each precision, written beside the weights and proven. Errors: `BundleError`."""
    reference, half = strain_graph(network, config), None
    for shape in config.wanted:
        fitting = [pair for pair in recorded if shape in (None, pair.reference.shape)]
        for precision in dict.fromkeys(config.precisions):
            path = stored.with_name(graph_file(shape, precision))
            report(f"{path.name}: exporting")
            if precision == "float16":
                half = half or strain_graph(in_half(network), config)
                model = trace_onnx(half, shape)
            elif precision == "int8":  # for CPUs alone
                model = trace_onnx(reference, shape, loops=True)
                model = quantised(model, shape or RANGES_SHAPE, fitting, front_end=network.front_end)
            else:
                model = trace_onnx(reference, shape)
            save_onnx(model, path, stored)
            yield proven(reference, path, shape, precision, fitting, report)


def _follow_graphs(
    network: LiteFlowNet, config: ExportConfig, stored: Path, recorded: Sequence[FramePair], report: Report
) -> Iterator[Graph]:
    """One for each shape, in float32 alone, for CPUs: nothing of the network is in them. Errors: `BundleError`."""
    whole = strain_graph(network, config)
    assert isinstance(whole, BasebandGraph)
    for shape in config.wanted:
        graph, path = FollowGraph(whole), stored.with_name(follow_file(shape))
        report(f"{path.name}: exporting")
        write_onnx(graph, shape, path, stored, loops=True)
        fitting = [pair for pair in recorded if shape in (None, pair.reference.shape)]
        yield proven(graph, path, shape, "float32", fitting, report)


def proven(
    reference: AnyGraph,
    path: Path,
    shape: Shape | None,
    precision: str,
    recorded: Sequence[FramePair],
    report: Report,
) -> Graph:
    """The manifest's entry of the file `path`, which was made from `reference`. Errors: `BundleError`."""
    run = timed = open_onnx(path, partial(pair_inputs, reference))
    if isinstance(reference, FollowGraph):  # without what finds the start
        start = np.zeros(START_SHAPE, np.float32)
        timed = open_onnx(path, lambda pair: (*graph_inputs("baseband", *pair), start))
    accuracy = compare(reference, run, shape or EXAMPLE_SHAPE, recorded)
    report(f"{path.name}: {accuracy_line(asdict(accuracy), tolerances(precision))}")
    judge(accuracy, path.name, precision)
    return Graph(
        file=path.name,
        shape=shape,
        grid_rows=grid_rows(shape[0], TYPICAL) if shape and reference.front_end == "baseband" else None,
        precision=precision,
        sha256=sha256_of(path),
        bytes=path.stat().st_size,
        accuracy=asdict(accuracy),
        speed=measured(
            timed,
            shape or EXAMPLE_SHAPE,
            engine=f"onnxruntime {versions()['onnxruntime']} on the CPU",
        ),
    )


def versions() -> dict[str, str]:
    """Versions of the libraries that make a bundle, from the modules, since ONNX Runtime has several package names."""
    return {name: str(import_module(name).__version__) for name in LIBRARIES}


def graph_file(shape: Shape | None, precision: str) -> str:
    """File name of a graph, such as `strain.onnx` (any shape, float32) or `strain_512x128_int8.onnx`."""
    parts = ["strain"]
    if shape is not None:
        parts.append(f"{shape[0]}x{shape[1]}")
    if precision != "float32":
        parts.append(precision)
    return "_".join(parts) + ".onnx"


def follow_file(shape: Shape | None) -> str:
    """File name of a graph that follows, such as `follow.onnx` (any shape) or `follow_512x128.onnx`."""
    return graph_file(shape, "float32").replace("strain", "follow", 1)
