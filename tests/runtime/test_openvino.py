"""Real OpenVINO on the tiny bundle whose answers are known, and on the default one beside ONNX Runtime."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from tiny_bundle import QUALITY, SLOPE, STRAIN, tiny_bundle

from usert.bundle import Bundle, default_bundle_path
from usert.errors import BundleError, EngineError
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.engine import Estimate
from usert.runtime.engines import open_engine
from usert.runtime.engines.openvino import OpenVinoEngine

SHAPE = (40, 12)


def frames(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(1).integers(-500, 500, (2, *shape), dtype=np.int16)


def test_answers_are_those_of_the_graph(tmp_path: Path) -> None:
    reference, current = frames()
    with closing(OpenVinoEngine(tiny_bundle(tmp_path / "b"), threads=1)) as engine:
        estimate = engine.run(reference, current)
        assert engine.name == "openvino CPU"
    rows = np.broadcast_to(np.arange(SHAPE[0], dtype=np.float32)[:, None], SHAPE)
    np.testing.assert_array_equal(estimate.displacement[0], -SLOPE * rows)
    np.testing.assert_array_equal(estimate.displacement[1], current.astype(np.float32) - reference)
    np.testing.assert_array_equal(estimate.strain, np.full(SHAPE, STRAIN, np.float32))
    np.testing.assert_array_equal(estimate.quality, np.full(SHAPE, QUALITY, np.float32))


def test_estimates_are_never_written_again(tmp_path: Path) -> None:
    reference, current = frames()
    with closing(OpenVinoEngine(tiny_bundle(tmp_path / "b"), threads=1)) as engine:
        first = engine.run(reference, current)
        kept = first.displacement.copy()
        engine.run(current, reference)
    np.testing.assert_array_equal(first.displacement, kept)


def test_any_shape_and_one_graph_a_shape(tmp_path: Path) -> None:
    with closing(OpenVinoEngine(tiny_bundle(tmp_path / "b", shapes=(None, SHAPE)), threads=1)) as engine:
        for shape in (SHAPE, (33, 7), (64, 5)):
            assert engine.run(*frames(shape)).strain.shape == shape
    with (
        closing(OpenVinoEngine(tiny_bundle(tmp_path / "c", shapes=(SHAPE,)), threads=1)) as engine,
        pytest.raises(BundleError, match="got frames of 33x7, expected 40x12"),
    ):
        engine.run(*frames((33, 7)))


def test_graph_of_another_contract_is_refused(tmp_path: Path) -> None:
    with (
        closing(OpenVinoEngine(tiny_bundle(tmp_path / "b", strain="stretch"), threads=1)) as engine,
        pytest.raises(EngineError, match=r"stretch f32.*expected.*strain f32"),
    ):
        engine.run(*frames())


def test_damaged_graph_is_one_line(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    (bundle.folder / "strain.onnx").write_bytes(b"not a graph")
    with (
        closing(OpenVinoEngine(Bundle.load(bundle.folder, verify=False), threads=1)) as engine,
        pytest.raises(EngineError, match=r"openvino CPU: cannot open strain\.onnx") as caught,
    ):
        engine.run(*frames())
    assert "\n" not in str(caught.value)


def test_closed_engine_says_so(tmp_path: Path) -> None:
    engine = OpenVinoEngine(tiny_bundle(tmp_path / "b"), threads=1)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="openvino CPU: is closed"):
        engine.run(*frames())


@pytest.mark.parametrize("shape", [(512, 128), (150, 90)])
def test_the_default_bundle_gives_what_onnxruntime_gives(shape: tuple[int, int]) -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=shape), seed=1)
    reference, current = scanner.frame(4).samples, scanner.frame(8).samples
    bundle = Bundle.load(default_bundle_path())
    found = []
    for name in ("openvino", "onnxruntime"):
        with closing(open_engine(bundle, engine=name)) as engine:
            found.append(engine.run(reference, current))
    assert np.abs(found[0].displacement - found[1].displacement).max() < 1e-3
    assert np.abs(found[0].strain - found[1].strain).max() < 1e-4
    assert np.abs(found[0].quality - found[1].quality).max() < 2e-3


def test_two_engines_in_two_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    pairs = [frames(), frames()[::-1]]
    wrong: list[str] = []

    def work(name: str, reference: np.ndarray, current: np.ndarray) -> None:
        with closing(open_engine(bundle, engine=name, threads=1)) as engine:
            for _ in range(50):
                estimate: Estimate = engine.run(reference, current)
                if not np.array_equal(estimate.displacement[1], current.astype(np.float32) - reference):
                    wrong.append(name)

    threads = [
        Thread(target=work, args=(name, *pair))
        for name, pair in zip(("openvino", "openvino", "onnxruntime"), (*pairs, pairs[0]), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
