"""Real ONNX Runtime sessions on a tiny bundle whose answers are known; what GPUs are told, where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bundle import QUALITY, SLOPE, STRAIN, STRAIN_WINDOW, tiny_bundle

from usert.bundle import Bundle
from usert.errors import BundleError, EngineError, FrameError
from usert.runtime.engines import open_engine, ort
from usert.runtime.engines.ort import OrtEngine
from usert.runtime.engines.ort_providers import CPU, CUDA, TENSORRT, attempts

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
    assert set(engine._sessions) == {("strain.onnx", 1), ("strain_40x12.onnx", 1)}
    engine.close()


def test_sessions_open_when_first_needed(tmp_path: Path) -> None:
    engine = OrtEngine(tiny_bundle(tmp_path / "b", shapes=(None, SHAPE)), threads=1)
    assert not engine._sessions
    engine.warm_up(SHAPE)
    assert set(engine._sessions) == {("strain_40x12.onnx", 1)}
    engine.close()


def test_shape_without_a_graph_lists_those_there_are(tmp_path: Path) -> None:
    engine = OrtEngine(tiny_bundle(tmp_path / "b", shapes=(SHAPE,)), threads=1)
    with pytest.raises(BundleError, match=r"got 41x12, expected .*40x12"):
        engine.run(*frames((41, 12)))
    engine.close()


def test_tensors_stay_where_they_are_until_the_shape_changes(tmp_path: Path) -> None:
    """As a CUDA graph needs; what comes back is as of a session that is handed arrays."""
    engine = OrtEngine(tiny_bundle(tmp_path / "b"), threads=1)

    def addresses() -> list[int]:
        return [tensor.data_ptr() for tensor in engine._sessions["strain.onnx", 1]._inputs]

    found = engine.run(*frames())
    before = addresses()
    again = engine.run(*frames()[::-1])
    assert addresses() == before
    assert engine.run(*frames((33, 7))).strain.shape == (33, 7)
    plain = ort.onnxruntime.InferenceSession(str(tmp_path / "b" / "strain.onnx"), providers=[CPU])
    for estimate, (reference, current) in ((found, frames()), (again, frames()[::-1])):
        expected = plain.run(["displacement"], {"reference": reference, "current": current})
        np.testing.assert_array_equal(estimate.displacement, expected[0])
        assert estimate.displacement.flags.owndata
    engine.close()


def test_provider_that_is_not_there_is_named(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    with pytest.raises(EngineError, match=r"NoSuchExecutionProvider, expected .*CPUExecutionProvider"):
        OrtEngine(bundle, provider="NoSuchExecutionProvider")


class Opened:
    """What `InferenceSession` was told in place of the real one, which opens the graph on the CPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, refuses_capture: bool = False) -> None:
        self.told: list[dict[str, dict[str, str]]] = []
        real = ort.onnxruntime.InferenceSession

        def open_on_cpu(path: str, **asked: Any) -> object:
            self.told.append(dict(zip(asked["providers"], asked["provider_options"], strict=True)))
            assert asked["enable_fallback"] == 0
            if refuses_capture and self.told[-1][CUDA]["enable_cuda_graph"] == "1":
                raise RuntimeError("all compute graph nodes have not been partitioned")
            return real(path, sess_options=asked["sess_options"], providers=[CPU])

        monkeypatch.setattr(ort.onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
        monkeypatch.setattr(ort.onnxruntime, "InferenceSession", open_on_cpu)
        monkeypatch.setattr(ort, "gpu_name", lambda: "NVIDIA H200 (sm_90)")


def test_provider_that_fell_back_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime-gpu without a driver lists CUDA, opens the session, and runs on the CPU."""
    opened = Opened(monkeypatch)
    engine = OrtEngine(tiny_bundle(tmp_path / "b"), provider=CUDA)
    with pytest.raises(
        EngineError, match="got provider CPUExecutionProvider, expected CUDAExecutionProvider"
    ):
        engine.run(*frames())
    assert [list(told) for told in opened.told] == [[CUDA, CPU]]


def test_a_cuda_graph_that_is_refused_is_opened_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened(monkeypatch, refuses_capture=True)
    engine = OrtEngine(tiny_bundle(tmp_path / "b", shapes=(SHAPE,)), provider=CUDA)
    with pytest.raises(EngineError, match="expected CUDAExecutionProvider"):  # of the second attempt
        engine.run(*frames())
    assert [told[CUDA]["enable_cuda_graph"] for told in opened.told] == ["1", "0"]


def test_tensorrt_keeps_engines_by_graph_gpu_and_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    opened = Opened(monkeypatch)
    bundle = tiny_bundle(tmp_path / "b", shapes=(SHAPE, None))
    for gpu, frame in (("NVIDIA H200 (sm_90)", frames()), ("NVIDIA L4 (sm_89)", frames((50, 9)))):
        monkeypatch.setattr(ort, "gpu_name", lambda gpu=gpu: gpu)
        with pytest.raises(EngineError, match="expected TensorrtExecutionProvider"):
            OrtEngine(bundle, provider=TENSORRT).run(*frame)
    paths = [Path(told[TENSORRT]["trt_engine_cache_path"]) for told in opened.told]
    assert [path.name.rpartition("-")[0] for path in paths] == ["strain_40x12", "strain"]
    assert all(path.is_dir() and path.is_relative_to(tmp_path / "cache") for path in paths)


def test_tensorrt_without_a_cache_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its engines take minutes to build: better to say so at the first start than to wait at each."""
    Opened(monkeypatch)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    engine = OrtEngine(tiny_bundle(tmp_path / "b"), provider=TENSORRT)
    with pytest.raises(EngineError, match=r"^engine cache .*: Not a directory; "):
        engine.run(*frames())


def test_tensorrt_without_a_gpu_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Opened(monkeypatch)
    monkeypatch.setattr(ort, "gpu_name", lambda: None)
    engine = OrtEngine(tiny_bundle(tmp_path / "b"), provider=TENSORRT)
    with pytest.raises(EngineError, match=r"TensorrtExecutionProvider: got no NVIDIA GPU .*nvidia-smi"):
        engine.run(*frames())


def test_tensorrt_is_not_given_what_its_parser_takes_for_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GridSample of opset 20: it would warp by whole pixels, and no one would know."""
    Opened(monkeypatch)
    bundle = tiny_bundle(tmp_path / "b")
    newer = replace(bundle, manifest=replace(bundle.manifest, opset=20))
    with pytest.raises(EngineError, match="got graphs of opset 20, expected 19 or less"):
        OrtEngine(newer, provider=TENSORRT)
    OrtEngine(newer, provider=CUDA).close()


@pytest.mark.parametrize("provider", [CUDA, TENSORRT])
@pytest.mark.parametrize(("shape", "captures"), [(SHAPE, [True, False]), (None, [False])])
def test_only_a_graph_of_one_shape_is_tried_as_a_cuda_graph(
    provider: str, shape: tuple[int, int] | None, captures: list[bool]
) -> None:
    flags = {CUDA: ("enable_cuda_graph", "1"), TENSORRT: ("trt_cuda_graph_enable", "True")}
    option, yes = flags[provider]
    tried = attempts(provider, shape, cache=Path("kept"))
    assert [providers[0][0] for providers in tried] == [provider] * len(captures)
    assert [providers[0][1][option] == yes for providers in tried] == captures


def test_providers_in_order_and_what_they_are_told() -> None:
    """TensorRT takes only True and False as flags; neither is allowed to compute float32 in less."""
    assert attempts(CPU, SHAPE) == attempts(CPU, None) == [[(CPU, {})]]
    (cuda, cpu), _ = attempts(CUDA, SHAPE)
    assert cuda == (
        CUDA,
        {
            "device_id": "0",
            "cudnn_conv_algo_search": "EXHAUSTIVE",
            "use_tf32": "0",
            "enable_cuda_graph": "1",
        },
    )
    assert cpu == (CPU, {})
    ((tensorrt, rest_on_cuda, rest_on_cpu),) = attempts(TENSORRT, None, cache=Path("kept"))
    assert tensorrt == (
        TENSORRT,
        {
            "device_id": "0",
            "trt_cuda_graph_enable": "False",
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": "kept",
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": "kept",
        },
    )
    assert (rest_on_cuda[0], rest_on_cuda[1]["enable_cuda_graph"], rest_on_cpu) == (CUDA, "0", (CPU, {}))


def test_without_page_locked_memory_frames_go_the_slower_way(caplog: pytest.LogCaptureFixture) -> None:
    ort._page_locked(frames()[0])[:] = frames()[0]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages[0].startswith("onnxruntime: frames reach the GPU the slower way: ")


def test_precisions_that_suit_the_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    Opened(monkeypatch)
    assert OrtEngine(bundle)._precisions[:2] == ("int8", "float32")
    for provider in (CUDA, TENSORRT):
        assert OrtEngine(bundle, provider=provider)._precisions[:2] == ("float16", "float32")
        assert OrtEngine(bundle, provider=provider, precision="int8")._precisions == ("int8",)
    with pytest.raises(BundleError, match=r"^precision: got .*float32, expected int8"):
        OrtEngine(bundle, precision="int8").run(*frames())


def test_graph_of_another_contract_is_refused(tmp_path: Path) -> None:
    engine = OrtEngine(tiny_bundle(tmp_path / "b", strain="stretch"), threads=1)
    with pytest.raises(EngineError, match=r"stretch tensor\(float\).*expected.*strain tensor\(float\)"):
        engine.run(*frames())


def test_damaged_graph_that_was_not_verified_is_one_line(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    (bundle.folder / "strain.onnx").write_bytes(b"not a graph")
    engine = OrtEngine(Bundle.load(bundle.folder, verify=False), threads=1)
    with pytest.raises(EngineError, match=r"^onnxruntime .*open strain\.onnx") as caught:
        engine.run(*frames())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("threads", [0, -3, 20_000])
def test_threads_that_no_machine_has_are_refused(tmp_path: Path, threads: int) -> None:
    with pytest.raises(EngineError, match=f"threads: got {threads}, expected 1 to 1024"):
        OrtEngine(tiny_bundle(tmp_path / "b"), threads=threads)


def test_closed_engine_says_so(tmp_path: Path) -> None:
    engine = OrtEngine(tiny_bundle(tmp_path / "b"), threads=1)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="is closed"):
        engine.run(*frames())


def test_importing_the_engines_loads_no_library() -> None:
    code = "import sys, usert.runtime.engines; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_onnxruntime_tells_its_maker_nothing(tmp_path: Path) -> None:
    """Left alone it writes a number for this device into the cache, and reports each session under it."""
    silent = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")
    environment = {name: value for name, value in os.environ.items() if name not in silent}
    environment["XDG_CACHE_HOME"] = str(tmp_path)
    code = "import usert.runtime.engines.ort"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_frame_shorter_than_the_strain_window_is_refused(tmp_path: Path) -> None:
    reference, current = frames((STRAIN_WINDOW - 1, 12))
    with pytest.raises(FrameError, match=r"^frame: got 16 .*expected .* 17"):
        open_engine(tiny_bundle(tmp_path / "b"), threads=1).run(reference, current)
