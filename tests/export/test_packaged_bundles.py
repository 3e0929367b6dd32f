"""The bundles that come with the package: every engine that runs here says what torch says, and keeps saying it."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from usert.bundle import Bundle, packaged_bundles
from usert.bundle.manifest import PRECISIONS
from usert.commands.engine import open_named
from usert.errors import FrameError
from usert.export.baseband_graph import BasebandGraph, FollowGraph
from usert.export.gate import FramePair, by_torch, pair_inputs, tolerances
from usert.export.pair_graph import reference_graph
from usert.frame import Scan
from usert.network.grid_refine import ROUNDS
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.quality import READABLE_QUALITY
from usert.runtime.engines.interface import Engine, Follower

ENGINES = ("torch", "onnxruntime", "openvino")
SHAPES = ((512, 128), (333, 77), (1024, 256))
"""Two that have graphs of their own, and one for the graph of any shape."""
PACKAGED = {name: Bundle.load(folder) for name, folder in packaged_bundles().items()}
BUNDLE = PACKAGED["default"]
"""For what does not depend on the weights."""
THERE = sorted({graph.precision for graph in BUNDLE.manifest.graphs}, key=PRECISIONS.index)
Outputs = dict[tuple[str, tuple[int, int]], list[np.ndarray[Any, Any]]]
"""Displacement, strain and quality by bundle and shape."""


def pair(shape: tuple[int, int], seed: int = 1) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], Scan]:
    """What an engine takes."""
    scanner = SimulatedScanner(ScannerConfig(shape=shape), seed=seed)
    return scanner.frame(4).samples, scanner.frame(8).samples, scanner.scan


@pytest.fixture(autouse=True)
def _threads_of_torch() -> Iterator[None]:
    """An engine sets them for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def expected() -> Outputs:
    graphs = {which: reference_graph(bundle) for which, bundle in PACKAGED.items()}
    return {
        (which, shape): list(by_torch(graph, FramePair(*pair(shape)[:2])))
        for which, graph in graphs.items()
        for shape in SHAPES
    }


def opened(name: str, precision: str | None, which: str = "default") -> Engine:
    return open_named(
        PACKAGED[which], engine=name, threads=1, precision=None if name == "torch" else precision
    )


@pytest.mark.parametrize("which", PACKAGED)
def test_each_has_the_graphs_that_the_default_one_has_and_a_model_card(which: str) -> None:
    manifest = PACKAGED[which].manifest
    for field in ("graphs", "follow"):
        files = [[graph.file for graph in getattr(each, field)] for each in (manifest, BUNDLE.manifest)]
        assert files[0] == files[1]
    assert manifest.weights.model_card is not None


def operators_of(graph: onnx.GraphProto) -> Iterator[str]:
    """Of a graph, and of the bodies of its loops."""
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from operators_of(attribute.g)


@pytest.mark.parametrize("which", PACKAGED)
def test_graphs_for_cpus_have_a_loop_a_round_and_those_for_gpus_have_none(which: str) -> None:
    """A GPU captures no graph with a loop, and none of these operators is read by every library."""
    bundle = PACKAGED[which]
    for graph in (*bundle.manifest.graphs, *bundle.manifest.follow):
        model = onnx.load(bundle.path_of(graph), load_external_data=False)
        operators = list(operators_of(model.graph))
        for_cpus = graph.precision == "int8" or graph in bundle.manifest.follow
        assert operators.count("Loop") == (len(ROUNDS) if for_cpus else 0), graph.file
        assert not {"If", "Scan", "ScatterND", "Einsum"} & set(operators), graph.file
        assert b"Traceback" not in bundle.path_of(graph).read_bytes(), graph.file


def compiles_long(name: str, which: str, shape: tuple[int, int], precision: str) -> bool:
    """Whether OpenVINO compiles a graph for this alone, a quarter of a minute; ONNX Runtime reads the same graphs."""
    if name != "openvino":
        return False
    if which == "default":
        return shape != SHAPES[1] and precision == "float32"
    return shape != SHAPES[1] or precision == "float32"


@pytest.mark.parametrize(
    ("name", "precision", "which", "shape"),
    [
        pytest.param(
            name,
            precision,
            which,
            shape,
            id=f"{name}-{precision}-{which}-{shape[0]}x{shape[1]}",
            marks=[pytest.mark.slow] if compiles_long(name, which, shape, precision) else [],
        )
        for name, precision, which, shape in product(ENGINES, THERE, PACKAGED, SHAPES)
    ],
)
def test_every_engine_says_what_torch_says(
    name: str, precision: str, which: str, shape: tuple[int, int], expected: Outputs
) -> None:
    limits = tolerances(precision)
    with closing(opened(name, precision, which)) as engine:
        got = engine.run(*pair(shape))
    apart = got.displacement - expected[which, shape][0]
    assert np.abs(apart).max() <= limits["max_abs_displacement_samples"]
    assert np.sqrt(np.mean(apart**2)) <= limits["rms_displacement_samples"]
    assert np.abs(got.strain - expected[which, shape][1]).max() <= limits["max_abs_strain"]
    assert np.abs(got.quality - expected[which, shape][2]).max() <= limits["max_abs_quality"]


@pytest.mark.parametrize(
    ("name", "which", "shape"),
    [
        pytest.param(
            name,
            which,
            shape,
            id=f"{name}-{which}-{shape[0]}x{shape[1]}",
            marks=[pytest.mark.slow] if compiles_long(name, which, shape, "float32") else [],
        )
        for name, which, shape in product(ENGINES, PACKAGED, SHAPES)
        if (name, which) != ("torch", "small")  # it is what they are compared with
    ],
)
def test_every_engine_follows_as_torch_does(name: str, which: str, shape: tuple[int, int]) -> None:
    limits, scale = tolerances("float32"), 0.9
    whole = reference_graph(PACKAGED[which])
    assert isinstance(whole, BasebandGraph)
    frames = FramePair(*pair(shape)[:2])
    *inputs, start = pair_inputs(FollowGraph(whole), frames)
    start[:2] *= scale  # the hand has moved a little less before
    with torch.inference_mode():
        parts = [torch.from_numpy(part) for part in (*inputs, start)]
        expected = [part.numpy()[..., : shape[1]] for part in FollowGraph(whole)(*parts)]
    with closing(opened(name, "float32", which)) as engine:
        assert isinstance(engine, Follower)
        got = engine.follow(*pair(shape), start)
    assert np.abs(got.displacement - expected[0]).max() <= limits["max_abs_displacement_samples"]
    assert np.abs(got.strain - expected[1]).max() <= limits["max_abs_strain"]
    assert np.abs(got.quality - expected[2]).max() <= limits["max_abs_quality"]
    alone = by_torch(whole, frames)
    readable = alone[2] >= READABLE_QUALITY
    assert np.abs(got.displacement - alone[0])[0][readable].max() < 0.02


@pytest.mark.parametrize(
    ("name", "which"),
    [
        *product(["onnxruntime"], PACKAGED),
        ("openvino", "default"),
        pytest.param("openvino", "small", marks=pytest.mark.slow),
    ],
)
def test_the_graph_of_one_shape_and_that_of_any_say_the_same(name: str, which: str) -> None:
    frames = pair((512, 128))
    estimates = []
    for bundle in (PACKAGED[which], only_any_shape(PACKAGED[which])):
        with closing(open_named(bundle, engine=name, threads=1, precision="float32")) as engine:
            estimates.append(engine.run(*frames))
    one, free = estimates
    assert np.abs(one.displacement - free.displacement).max() < 1e-3
    assert np.abs(one.strain - free.strain).max() < 1e-4
    assert np.abs(one.quality - free.quality).max() < 2e-3


def test_another_sampling_of_the_same_shape_is_run_by_the_graph_of_any() -> None:
    """Its depth grid has other rows; at a sampling that is not told nothing is run at all."""
    scanner = SimulatedScanner(
        ScannerConfig(shape=(512, 128), scan=replace(ScannerConfig().scan, f0_hz=9e6)), seed=1
    )
    frames = scanner.frame(4).samples, scanner.frame(8).samples
    with closing(open_named(BUNDLE, engine="onnxruntime", threads=1, precision="float32")) as engine:
        found = engine.run(*frames, scanner.scan)
        assert np.sqrt(np.mean((found.displacement[0] - scanner.truth(4, 8)[0]) ** 2)) < 0.05
        with pytest.raises(FrameError, match="sampling and centre frequency"):
            engine.run(*frames)


def test_frequencies_that_cannot_be_are_named_before_any_length_made_of_them() -> None:
    first, second, scan = pair((512, 128))
    with (
        closing(open_named(BUNDLE, engine="onnxruntime", threads=1, precision="float32")) as engine,
        pytest.raises(FrameError, match="f0_hz over fs_hz: got 0"),
    ):
        engine.run(first, second, replace(scan, f0_hz=0.01 * scan.fs_hz))


def only_any_shape(bundle: Bundle) -> Bundle:
    graphs = tuple(graph for graph in bundle.manifest.graphs if graph.shape is None)
    return replace(bundle, manifest=replace(bundle.manifest, graphs=graphs))


@pytest.mark.parametrize("name", ENGINES)
def test_two_engines_in_two_threads_do_not_disturb_each_other(name: str) -> None:
    shape = (128, 64)
    pairs = [pair(shape, seed) for seed in (1, 2)]
    with closing(opened(name, None)) as alone:
        expected = [alone.run(*frames) for frames in pairs]
    wrong: list[str] = []

    def work(which: int) -> None:
        with closing(opened(name, None)) as engine:
            for _ in range(5):
                got = engine.run(*pairs[which])
                same = [
                    np.array_equal(getattr(got, field), getattr(expected[which], field))
                    for field in ("displacement", "strain", "quality")
                ]
                if not all(same):
                    wrong.append(f"engine {which}: {same}")

    threads = [Thread(target=work, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_memory_is_flat_over_a_thousand_runs(name: str) -> None:
    """On a graph of one shape; an estimate has 1 MB, so keeping any of them would show."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("no /proc here")

    def resident() -> int:
        gc.collect()
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    frames = pair((512, 128))
    with closing(open_named(BUNDLE, engine=name, threads=None, precision=None)) as engine:
        for _ in range(50):
            engine.run(*frames)
        before = resident()
        for _ in range(1000):
            engine.run(*frames)
        assert resident() - before < 30e6
