"""Real ONNX Runtime sessions on a tiny bundle whose answers are known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import QUALITY, SLOPE, STRAIN, STRAIN_WINDOW, tiny_bundle

from usert.bundle import Bundle
from usert.errors import BundleError, EngineError, FrameError
from usert.runtime.engines import open_engine
from usert.runtime.engines.ort import OrtEngine

SHAPE = (40, 12)


def frames(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(1).integers(-500, 500, (2, *shape), dtype=np.int16)


def test_graph_reads_half_precision_weights_from_the_safetensors_file(tmp_path: Path) -> None:
    reference, current = frames()
    engine = open_engine(tiny_bundle(tmp_path / "b"), engine="onnxruntime", threads=1)
    estimate = engine.run(reference, current)
    rows = np.broadcast_to(np.arange(SHAPE[0], dtype=np.float32)[:, None], SHAPE)
    assert estimate.displacement.dtype == np.float32
    np.testing.assert_array_equal(estimate.displacement[0], -SLOPE * rows)
    np.testing.assert_array_equal(estimate.displacement[1], current.astype(np.float32) - reference)
    np.testing.assert_array_equal(estimate.strain, np.full(SHAPE, STRAIN, np.float32))
    np.testing.assert_array_equal(estimate.quality, np.full(SHAPE, QUALITY, np.float32))
    assert engine.name == "onnxruntime CPUExecutionProvider"
    engine.close()


def test_any_shape_and_a_faster_graph_where_there_is_one(tmp_path: Path) -> None:
    engine = OrtEngine(tiny_bundle(tmp_path / "b", shapes=(None, SHAPE)), threads=1)
    for shape in (SHAPE, (33, 7), (64, 5)):
        assert engine.run(*frames(shape)).strain.shape == shape
    assert set(engine._sessions) == {"strain.onnx", "strain_40x12.onnx"}
    engine.close()


def test_sessions_open_when_first_needed(tmp_path: Path) -> None:
    engine = OrtEngine(tiny_bundle(tmp_path / "b", shapes=(None, SHAPE)), threads=1)
    assert not engine._sessions
    engine.warm_up(SHAPE)
    assert set(engine._sessions) == {"strain_40x12.onnx"}
    engine.close()


def test_estimates_are_never_written_again(tmp_path: Path) -> None:
    reference, current = frames()
    engine = OrtEngine(tiny_bundle(tmp_path / "b"), threads=1)
    first = engine.run(reference, current)
    kept = first.displacement.copy()
    engine.run(current, reference)
    np.testing.assert_array_equal(first.displacement, kept)
    engine.close()


def test_bytes_in_other_order_and_views_give_the_same(tmp_path: Path) -> None:
    reference, current = frames()
    engine = OrtEngine(tiny_bundle(tmp_path / "b"), threads=1)
    plain = engine.run(reference, current).displacement
    odd = engine.run(np.asfortranarray(reference).astype(">i2"), np.asfortranarray(current)).displacement
    np.testing.assert_array_equal(plain, odd)
    engine.close()


def test_shape_without_a_graph_lists_those_there_are(tmp_path: Path) -> None:
    engine = OrtEngine(tiny_bundle(tmp_path / "b", shapes=(SHAPE,)), threads=1)
    with pytest.raises(BundleError, match="got frames of 33x7, expected 40x12"):
        engine.run(*frames((33, 7)))
    engine.close()


def test_bad_frames_are_refused(tmp_path: Path) -> None:
    engine = OrtEngine(tiny_bundle(tmp_path / "b"), threads=1)
    reference, current = frames()
    with pytest.raises(FrameError, match="expected one shape"):
        engine.run(reference, current[:-1])
    engine.close()


def test_provider_that_is_not_there_is_named(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    with pytest.raises(EngineError, match=r"NoSuchExecutionProvider, expected one of .*CPUExecutionProvider"):
        OrtEngine(bundle, provider="NoSuchExecutionProvider")


def test_provider_that_fell_back_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime-gpu without a driver lists CUDA, opens the session, and runs on the CPU."""
    from usert.runtime.engines import ort

    real = ort.onnxruntime.InferenceSession

    def falls_back(path: str, *, sess_options: object, providers: list[str]) -> object:
        return real(path, sess_options=sess_options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(
        ort.onnxruntime,
        "get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    monkeypatch.setattr(ort.onnxruntime, "InferenceSession", falls_back)
    engine = OrtEngine(tiny_bundle(tmp_path / "b"), provider="CUDAExecutionProvider")
    with pytest.raises(
        EngineError, match="got provider CPUExecutionProvider, expected CUDAExecutionProvider"
    ):
        engine.run(*frames())


def test_graph_of_another_contract_is_refused(tmp_path: Path) -> None:
    engine = OrtEngine(tiny_bundle(tmp_path / "b", strain="stretch"), threads=1)
    with pytest.raises(EngineError, match=r"stretch tensor\(float\).*expected.*strain tensor\(float\)"):
        engine.run(*frames())


def test_damaged_graph_that_was_not_verified_is_one_line(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    (bundle.folder / "strain.onnx").write_bytes(b"not a graph")
    engine = OrtEngine(Bundle.load(bundle.folder, verify=False), threads=1)
    with pytest.raises(EngineError, match=r"cannot open strain\.onnx") as caught:
        engine.run(*frames())
    assert "\n" not in str(caught.value)


def test_threads_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="threads: got 0, expected 1 or more"):
        OrtEngine(tiny_bundle(tmp_path / "b"), threads=0)


def test_closed_engine_says_so(tmp_path: Path) -> None:
    engine = OrtEngine(tiny_bundle(tmp_path / "b"), threads=1)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="is closed"):
        engine.run(*frames())


def test_importing_the_engines_loads_no_library() -> None:
    code = "import sys, usert.runtime.engines; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_frame_shorter_than_the_strain_window_is_refused(tmp_path: Path) -> None:
    reference, current = frames((STRAIN_WINDOW - 1, 12))
    with pytest.raises(FrameError, match="got 16 samples along depth, expected at least 17"):
        open_engine(tiny_bundle(tmp_path / "b"), threads=1).run(reference, current)
