"""Graphs for any shape compiled for one, by real OpenVINO: on the tiny bundle, whose answers are known, and on the
default one."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from live import wait_until
from run_command import speckle, write
from tiny_bundle import SLOPE, tiny_bundle

from usert.bundle import Bundle, default_bundle_path
from usert.bundle.manifest import Graph
from usert.errors import EngineError
from usert.frame import RFFrame, Shape
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.recording import Recording
from usert.runtime.engines import specialised
from usert.runtime.engines.best import BestEngine
from usert.runtime.engines.following import FollowingEngine
from usert.runtime.engines.interface import Engine
from usert.runtime.engines.openvino import OpenVinoEngine
from usert.runtime.engines.specialised import MOST_SIZES, Sizes, SpecialisedGraphs
from usert.runtime.imaging.image_quality import ImageQualityRule
from usert.runtime.offline import run_pairs
from usert.runtime.offline.recipe import Recipe
from usert.runtime.server.engine_runner import EngineRunner

SHAPES = ((40, 12), (33, 7), (64, 5))


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return tiny_bundle(tmp_path / "described").manifest.graphs[0]


@pytest.fixture(autouse=True)
def _compiled_to_the_end() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name == specialised.THREAD:
            thread.join()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[OpenVinoEngine]:
    with closing(OpenVinoEngine(tiny_bundle(tmp_path / "b"), threads=1)) as opened:
        yield opened


def is_right(engine: OpenVinoEngine, shape: Shape) -> None:
    reference, current = np.random.default_rng(1).integers(-500, 500, (2, *shape), dtype=np.int16)
    found = engine.run(reference, current).displacement
    rows = np.broadcast_to(np.arange(shape[0], dtype=np.float32)[:, None], shape)
    np.testing.assert_array_equal(found, [-SLOPE * rows, current.astype(np.float32) - reference])


def compiled_for(engine: OpenVinoEngine) -> set[Shape]:
    return {key.sizes.shape for key in engine._specialised._sessions}


def test_warmed_up_it_is_compiled_for_the_shape_and_others_run_as_before(engine: OpenVinoEngine) -> None:
    first, second, third = SHAPES
    engine.warm_up(first)
    assert compiled_for(engine) == {first}
    assert not engine._sessions  # the graph for any shape is not opened for nothing
    for shape in SHAPES:
        is_right(engine, shape)
    assert compiled_for(engine) == {first}
    engine.warm_up(second)
    engine.warm_up(first)
    engine.warm_up(third)
    assert MOST_SIZES == 2
    assert compiled_for(engine) == {first, third}
    for shape in SHAPES:
        is_right(engine, shape)


def test_warmed_up_gradually_it_is_compiled_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specialised, "SETTLED_S", 0.0)
    with closing(OpenVinoEngine(tiny_bundle(tmp_path / "b"), threads=1)) as engine:
        engine.warm_up_gradually(SHAPES[0])
        assert engine._sessions

        def compiled() -> bool:
            is_right(engine, SHAPES[0])
            return compiled_for(engine) == {SHAPES[0]}

        wait_until(compiled)
        is_right(engine, SHAPES[0])


def test_a_live_server_warms_up_gradually(tmp_path: Path, make_frame: Callable[..., RFFrame]) -> None:
    """The graph for any shape is opened, which is the shortest wait, whatever the engine is wrapped in."""
    bundle, frame = tiny_bundle(tmp_path / "b"), make_frame(shape=SHAPES[0])
    for wrap in (lambda one: one, of_best, lambda one: FollowingEngine(of_best(one))):
        with closing(OpenVinoEngine(bundle, threads=1)) as engine:
            EngineRunner(wrap(engine), quality_rule=ImageQualityRule()).warm_up(frame)
            assert engine._sessions
            assert not compiled_for(engine)


def of_best(engine: Engine) -> BestEngine:
    return BestEngine({"openvino": lambda: engine}, blame="openvino")


def test_a_shape_that_passes_is_not_compiled_for(graph: Graph) -> None:
    made: list[Sizes] = []
    graphs = SpecialisedGraphs(lambda _, __, sizes: made.append(sizes), settled_s=3600)
    for rows in range(40, 60):
        with graphs.wanted(beside=True):
            assert graphs.session(graph, 1, Sizes((rows, 12), None)) is None
        assert graphs.session(graph, 1, Sizes((rows, 12), None)) is None
    assert made == []


def test_one_graph_is_compiled_at_a_time_and_that_of_a_shape_that_is_gone_is_not_kept(graph: Graph) -> None:
    at_work, go_on = threading.Semaphore(0), threading.Semaphore(0)
    under_way: list[Sizes] = []

    def compile_(_: Graph, __: int, sizes: Sizes) -> str:
        under_way.append(sizes)
        at_work.release()
        go_on.acquire()
        return str(sizes)

    graphs = SpecialisedGraphs(compile_, settled_s=0.0)
    sizes = [Sizes((rows, 12), None) for rows in range(40, 44)]
    for one in sizes:
        with graphs.wanted(beside=True):
            graphs.session(graph, 1, one)
        if one is sizes[0]:
            graphs.session(graph, 1, one)
            at_work.acquire()
    assert graphs.session(graph, 1, sizes[3]) is None
    assert under_way == sizes[:1]
    go_on.release(2)
    wait_until(lambda: graphs.session(graph, 1, sizes[3]) == "43x12")
    assert under_way == [sizes[0], sizes[3]]
    assert set(graphs._sessions.values()) == {"43x12"}


def test_a_size_that_comes_again_takes_the_place_of_one_that_is_unused(graph: Graph) -> None:
    graphs = SpecialisedGraphs(lambda _, __, sizes: str(sizes), settled_s=3600)
    first, second, third = (Sizes((rows, 12), None) for rows in (40, 41, 42))
    for one in (first, second, third):
        with graphs.wanted(beside=False):
            assert graphs.session(graph, 1, one) == str(one)
    for _ in range(3):  # three that go on do not take turns
        assert graphs.session(graph, 1, first) is None
        for one in (second, third):
            assert graphs.session(graph, 1, one) == str(one)
    graphs._settled_s = 0.0
    wait_until(lambda: graphs.session(graph, 1, first) == str(first))
    graphs._settled_s = 3600
    assert graphs.session(graph, 1, third) == str(third)
    assert graphs.session(graph, 1, second) is None


def test_what_cannot_be_compiled_is_told_once_and_runs_on(
    graph: Graph, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> str:
        raise EngineError("no room")

    sizes = Sizes((40, 12), 64)
    for beside in (False, True):
        caplog.clear()
        graphs = SpecialisedGraphs(fails, settled_s=0.0)
        with graphs.wanted(beside=beside):
            assert graphs.session(graph, 1, sizes) is None
        for _ in range(3):
            assert graphs.session(graph, 1, sizes) is None
        wait_until(lambda: caplog.records)
        assert caplog.messages == ["strain.onnx: not compiled for 40x12, and slower: no room"]


CLOSES_MEANWHILE = """
import sys
from contextlib import closing
from usert.bundle import Bundle
from usert.runtime.engines import specialised
from usert.runtime.engines.openvino import OpenVinoEngine

specialised.SETTLED_S = 0.0
with closing(OpenVinoEngine(Bundle.load(sys.argv[1], verify=False), threads=1)) as engine:
    engine.warm_up_gradually((40, 12))
    engine.warm_up_gradually((40, 12))
"""


def test_a_process_ends_while_a_graph_is_compiled(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    for _ in range(4):
        command = [sys.executable, "-c", CLOSES_MEANWHILE, str(bundle.folder)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert ended.stderr == ""


COMPILES_ON = """
import sys
import time
from usert import cli
from usert.runtime.engines.specialised import Sizes, SpecialisedGraphs
from usert.runtime.server import launch

def serve(site, *, print_line, handover):
    graphs = SpecialisedGraphs(lambda *_: time.sleep(600), settled_s=0.0)
    with graphs.wanted(beside=True):
        for _ in range(2):
            graphs.session(site.bundle.manifest.graphs[0], 1, Sizes((40, 12), None))
    graphs.close()
    print_line("serve: closed")

launch.serve = serve
sys.argv[:1] = "usert serve --rf tcp://127.0.0.1:5555 --publish tcp://127.0.0.1:5556 --bundle".split()
cli.main()
"""


def test_a_server_that_has_served_does_not_wait_for_a_graph_that_is_compiled(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COMPILES_ON, str(tiny_bundle(tmp_path / "b").folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "serve: closed\n"


@pytest.mark.parametrize("worth", [False, True])
def test_a_long_recording_is_run_by_what_is_compiled_for_it(
    worth: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, bundle, pairs = (
        write(tmp_path / "rec.h5", speckle(3)),
        tiny_bundle(tmp_path / "b"),
        [(0, 1), (1, 2)],
    )
    with Recording(path) as source, closing(OpenVinoEngine(bundle, threads=1)) as engine:
        samples = len(pairs) * source.shape[0] * source.shape[1]
        monkeypatch.setattr(run_pairs, "WORTH_COMPILING", samples if worth else samples + 1)
        origin = Recipe().origin(
            source, called="rec.h5", engine=engine, engine_name=engine.name, bundle=bundle
        )
        reports, _ = run_pairs.estimate_pairs(
            source, engine, bundle, tmp_path / "out.h5", pairs=pairs, made_of=origin
        )
        assert compiled_for(engine) == ({source.shape} if worth else set())
    assert [report.pair for report in reports] == pairs


def test_the_default_bundle_answers_alike() -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=(260, 40), peak_strain=0.01, period_frames=4), seed=3)
    pair = scanner.frame(0), scanner.frame(2)
    with closing(OpenVinoEngine(Bundle.load(default_bundle_path(), verify=False), threads=2)) as engine:
        of_any = engine.run(pair[0].samples, pair[1].samples, pair[0].scan)
        engine.warm_up(pair[0].shape, pair[0].scan)
        assert compiled_for(engine) == {(260, 64)}
        alone = engine.run(pair[0].samples, pair[1].samples, pair[0].scan)
    np.testing.assert_allclose(alone.displacement, of_any.displacement, atol=2e-3)
    np.testing.assert_allclose(alone.strain, of_any.strain, atol=2e-5)
    np.testing.assert_allclose(alone.quality, of_any.quality, atol=1e-3)
