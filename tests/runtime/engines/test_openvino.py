"""Real OpenVINO on the tiny bundle whose answers are known."""

from __future__ import annotations

import locale
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from tiny_bundle import QUALITY, SLOPE, STRAIN, tiny_bundle

from usert.bundle import Bundle
from usert.errors import BundleError, EngineError
from usert.runtime.engines import open_engine
from usert.runtime.engines.openvino import OpenVinoEngine
from usert.runtime.imaging.estimate import Estimate

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


def test_any_shape_and_one_graph_a_shape(tmp_path: Path) -> None:
    with closing(OpenVinoEngine(tiny_bundle(tmp_path / "b", shapes=(None, SHAPE)), threads=1)) as engine:
        for shape in (SHAPE, (33, 7), (64, 5)):
            assert engine.run(*frames(shape)).strain.shape == shape
    with (
        closing(OpenVinoEngine(tiny_bundle(tmp_path / "c", shapes=(SHAPE,)), threads=1)) as engine,
        pytest.raises(BundleError, match=r"got 41x12, expected .*40x12"),
    ):
        engine.run(*frames((41, 12)))


def test_graph_of_another_contract_is_refused(tmp_path: Path) -> None:
    with (
        closing(OpenVinoEngine(tiny_bundle(tmp_path / "b", strain="stretch"), threads=1)) as engine,
        pytest.raises(EngineError, match=r"stretch f32.*expected.*strain f32"),
    ):
        engine.run(*frames())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for compiled models."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def opened_from_cache(bundle: Bundle, *, threads: int = 1, at_once: int = 1) -> bool:
    """Whether a new engine found its model compiled; it must give the right answer either way."""
    reference, current = frames()
    with closing(OpenVinoEngine(bundle, threads=threads, at_once=at_once)) as engine:
        compiled = engine._compile(bundle.manifest.graphs[0], at_once)
        found = engine.run(reference, current).displacement[1]
    np.testing.assert_array_equal(found, current.astype(np.float32) - reference)
    assert compiled.get_property("INFERENCE_NUM_THREADS") == threads
    assert compiled.get_property("NUM_STREAMS") == at_once
    assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    return bool(compiled.get_property("LOADED_FROM_CACHE"))


def test_the_second_start_finds_the_model_compiled(tmp_path: Path, cache: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    assert not opened_from_cache(bundle)
    assert opened_from_cache(bundle)
    assert opened_from_cache(bundle, threads=2)
    assert opened_from_cache(bundle, threads=2, at_once=2)
    assert len(list(cache.rglob("*.blob"))) == 1


def test_a_damaged_cache_is_compiled_anew(tmp_path: Path, cache: Path) -> None:
    """OpenVINO itself notices a file that is too short, and computes with one whose weights are wrong."""
    bundle = tiny_bundle(tmp_path / "b")
    assert not opened_from_cache(bundle)
    (blob,) = cache.rglob("*.blob")
    content = blob.read_bytes()
    for damaged in (content[: len(content) // 2], bytes([content[0] ^ 1]) + content[1:], content[:-1] + b"!"):
        blob.chmod(0o600)
        blob.write_bytes(damaged)
        assert not opened_from_cache(bundle)
        assert opened_from_cache(bundle)


def test_without_a_cache_it_opens_and_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with closing(OpenVinoEngine(tiny_bundle(tmp_path / "b"), threads=1)) as engine:
        engine.run(*frames())
        engine.run(*frames())
    (warning,) = caplog.messages
    assert warning.startswith("openvino CPU: strain.onnx is compiled without the cache: engine cache ")
    assert "\n" not in warning


def test_precisions_that_suit_it(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    with closing(OpenVinoEngine(bundle)) as engine:
        assert engine._precisions[:2] == ("int8", "float32")
    with (
        closing(OpenVinoEngine(bundle, precision="float16")) as engine,
        pytest.raises(BundleError, match=r"^precision: got .*float32, expected float16"),
    ):
        engine.run(*frames())


def test_damaged_graph_is_one_line(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    (bundle.folder / "strain.onnx").write_bytes(b"not a graph")
    with (
        closing(OpenVinoEngine(Bundle.load(bundle.folder, verify=False), threads=1)) as engine,
        pytest.raises(EngineError, match=r"^openvino CPU: .*open strain\.onnx") as caught,
    ):
        engine.run(*frames())
    assert "\n" not in str(caught.value)


def test_closed_engine_says_so(tmp_path: Path) -> None:
    engine = OpenVinoEngine(tiny_bundle(tmp_path / "b"), threads=1)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="openvino CPU: is closed"):
        engine.run(*frames())


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


FIRST_AT_ONCE = """
import sys
from contextlib import closing
from threading import Thread

import numpy as np

from usert.bundle import Bundle
from usert.runtime.engines import open_engine

frames = np.random.default_rng(0).integers(-900, 900, (2, 96, 24), dtype=np.int16)
with closing(open_engine(Bundle.load(sys.argv[1]), engine=sys.argv[2], threads=2, at_once=2)) as engine:
    threads = [Thread(target=engine.run, args=tuple(frames)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_the_first_two_pairs_of_a_process_may_come_at_once(name: str, tmp_path: Path) -> None:
    """The library's own binding waits for ever in half of the processes."""
    bundle = tiny_bundle(tmp_path / "b")
    for _ in range(4):
        command = [sys.executable, "-c", FIRST_AT_ONCE, str(bundle.folder), name]
        subprocess.run(command, check=True, timeout=120)


def test_opened_in_many_threads_at_once_it_leaves_the_locale_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sets it to C while it reads a graph; two at once would leave it there."""
    bundles = [tiny_bundle(tmp_path / f"{rows}", shapes=((rows, 12),)) for rows in (40, 41, 42)]
    before = locale.setlocale(locale.LC_ALL)

    def work(bundle: Bundle) -> None:
        with closing(OpenVinoEngine(bundle, threads=1)) as engine:
            engine.open_one()

    for again in range(30):  # a reading of so small a graph is short: two meet in one of seven
        monkeypatch.setenv(
            "XDG_CACHE_HOME", str(tmp_path / f"cache{again}")
        )  # what is cached is not read again
        threads = [Thread(target=work, args=(bundle,)) for bundle in bundles]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert locale.setlocale(locale.LC_ALL) == before
