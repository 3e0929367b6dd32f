"""What lies where in memory, and what is said where there is no GPU; a plan itself needs one."""

from __future__ import annotations

import importlib.util
import inspect
import re
import shutil
import sys
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tensorrt_rtx
from plans import H200, plan, planned_bundle

from usert.bundle import Bundle, default_bundle_path, sha256_of
from usert.errors import BundleError, EngineError, MissingExtraError
from usert.export.tensorrt_graph import as_bytes, build
from usert.front_end import graph_inputs
from usert.machine import gpu_name
from usert.runtime.engines import cuda, tensorrt
from usert.runtime.engines.cuda import ALIGNMENT, Cuda, Mirror, Stream, side_by_side
from usert.runtime.engines.interface import TYPICAL_SCAN
from usert.runtime.engines.tensorrt import (
    TensorRtEngine,
    check_tensors,
    end_of,
    input_places,
    listener,
    output_places,
    read_plan,
)

RTX_VERSION = str(tensorrt_rtx.__version__)
no_gpu_here = pytest.mark.skipif(gpu_name() is not None, reason="there is a GPU here")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return planned_bundle(tmp_path_factory.mktemp("bundle") / "b")


def test_tensors_lie_side_by_side_and_aligned() -> None:
    places = side_by_side({"a": ((3, 5), "<i2"), "b": ((1,), "<f4"), "c": ((2, 64), "<f4")})
    assert [(place.offset, place.end) for place in places.values()] == [(0, 30), (256, 260), (512, 1024)]
    for shape in ((97, 33), (512, 128), (1920, 768)):
        for found in (input_places(shape), output_places(shape)):
            spans = [(place.offset, place.end) for place in found.values()]
            assert all(begin % ALIGNMENT == 0 for begin, _ in spans)
            assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
            assert end_of(found) == spans[-1][1]


def test_what_goes_up_is_the_bytes_that_a_plan_takes() -> None:
    frames = np.random.default_rng(0).integers(-32768, 32768, (2, 97, 33), dtype=np.int16)
    places = input_places((97, 33))
    buffer = np.full(end_of(places), 255, np.uint8)
    for place, frame in zip(places.values(), frames, strict=True):
        np.copyto(place.of(buffer), frame)
    assert list(places) == ["reference_bytes", "current_bytes"]
    for place, frame in zip(places.values(), frames, strict=True):
        sent = buffer[place.offset : place.end].reshape(97, 33, 2)
        np.testing.assert_array_equal(sent, as_bytes(frame))
        np.testing.assert_array_equal(sent.reshape(97, 66).view("<i2"), frame)


def test_what_comes_down_is_read_without_a_copy_in_the_shapes_of_the_contract() -> None:
    places = output_places((64, 32))
    buffer = np.zeros(end_of(places), np.uint8)
    assert {name: place.shape for name, place in places.items()} == {
        "displacement": (2, 64, 32),
        "strain": (64, 32),
        "quality": (64, 32),
    }
    buffer[places["strain"].offset : places["strain"].end] = np.full(64 * 32, 0.5, "<f4").view(np.uint8)
    assert np.all(places["strain"].of(buffer) == 0.5)
    assert not places["displacement"].of(buffer).any()
    assert not places["quality"].of(buffer).any()
    assert np.shares_memory(places["quality"].of(buffer), buffer)


def test_a_plan_with_other_tensors_is_refused() -> None:
    good = dict.fromkeys(("reference_bytes", "current_bytes"), "input uint8") | dict.fromkeys(
        ("displacement", "strain", "quality"), "output float"
    )
    check_tensors(good)
    with pytest.raises(EngineError, match=r"^got .*strain output half.*, expected .*strain output float.*;"):
        check_tensors(good | {"strain": "output half"})
    names = tensorrt_rtx.TensorIOMode.INPUT.name, tensorrt_rtx.DataType.UINT8.name
    assert " ".join(names).lower() == good["reference_bytes"]
    assert (
        f"{tensorrt_rtx.TensorIOMode.OUTPUT.name} {tensorrt_rtx.DataType.FLOAT.name}".lower()
        == good["strain"]
    )


def test_a_file_that_is_no_plan_is_refused_with_the_cause(tmp_path: Path) -> None:
    """The cause, not its last echo in the log."""
    path = tmp_path / "garbage.plan"
    path.write_bytes(b"garbage" * 100)
    log = listener(tensorrt_rtx)
    runtime = tensorrt_rtx.Runtime(log)
    with pytest.raises(EngineError, match=r"^cannot .*loaded: .*Serialization") as caught:
        read_plan(runtime, log, path)
    assert "\n" not in str(caught.value)
    assert log.complaint() == "it does not say why"  # each complaint is told once
    with pytest.raises(EngineError, match=r"^cannot read: No such"):
        read_plan(runtime, log, tmp_path / "absent.plan")


def test_what_is_only_told_is_no_complaint() -> None:
    log = listener(tensorrt_rtx)
    log.log(tensorrt_rtx.ILogger.WARNING, "never mind")
    assert log.complaint() == "it does not say why"
    log.log(tensorrt_rtx.ILogger.INTERNAL_ERROR, "first\nsecond")
    log.log(tensorrt_rtx.ILogger.ERROR, "third")
    assert log.complaint() == "first"


def test_all_that_is_called_of_the_libraries_is_there() -> None:
    """A stand-in for running it: names that a newer release took away are found."""
    api = Cuda("rtx").api
    asked = set(re.findall(r"\b(cuda[A-Z]\w+)", inspect.getsource(cuda)))
    members = {
        name
        for kind in ("cudaMemcpyKind", "cudaStreamCaptureMode", "cudaError_t")
        for name in dir(getattr(api, kind))
    }
    assert len(asked) > 15
    assert [name for name in sorted(asked) if not hasattr(api, name) and name not in members] == []
    source = inspect.getsource(tensorrt)
    for owner, kind in (
        ("self._context", tensorrt_rtx.IExecutionContext),
        ("engine", tensorrt_rtx.ICudaEngine),
        ("self._engine", tensorrt_rtx.ICudaEngine),
        ("runtime", tensorrt_rtx.Runtime),
        ("settings", tensorrt_rtx.IRuntimeConfig),
        ("trt", tensorrt_rtx),
        ("strategies", tensorrt_rtx.DynamicShapesKernelSpecializationStrategy),
    ):
        called = set(re.findall(rf"(?<![\w.]){re.escape(owner)}\.([a-zA-Z]\w+)", source))
        assert called, owner
        assert [name for name in sorted(called) if not hasattr(kind, name)] == []
    assert hasattr(tensorrt_rtx.IExecutionContext, "is_stream_capturable")


@pytest.mark.parametrize(("module", "extra"), [("tensorrt", "tensorrt"), ("tensorrt_rtx", "rtx")])
def test_a_library_that_is_not_installed_names_its_extra(
    module: str, extra: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"^{module} .*: pip install 'usert\[{extra}\]'$"):
        TensorRtEngine(bundle, module=module)


def test_cuda_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(MissingExtraError, match=r"^cuda\.bindings\.runtime .*: pip install 'usert\[rtx\]'$"):
        Cuda("rtx")


def test_a_library_that_is_installed_in_part_is_an_engine_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_library.py").write_text("raise OSError('libnvinfer.so.10: cannot open\\nmore')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineError, match=r"^broken_library: .*: libnvinfer\.so\.10: .*'usert\[tensorrt\]'$"):
        cuda.load("broken_library", "tensorrt")


@no_gpu_here
def test_what_cuda_refuses_is_said_in_one_line() -> None:
    api = Cuda("rtx")
    for function, attempt in (
        ("cudaGetDeviceCount", lambda: api.call("cudaGetDeviceCount")),
        ("cudaMallocHost", lambda: Mirror(api, 16)),
        ("cudaStreamCreateWithFlags", lambda: Stream(api)),
    ):
        with pytest.raises(EngineError, match=rf"^CUDA: {function}: cudaError\w+: \w.*") as caught:
            attempt()
        assert "\n" not in str(caught.value)


@no_gpu_here
def test_without_a_gpu_the_engine_says_so(bundle: Bundle) -> None:
    ready = plan(library="tensorrt_rtx", version=RTX_VERSION, gpu=None)
    with pytest.raises(EngineError, match=r"^tensorrt_rtx: no NVIDIA GPU here, .*'usert\[rtx\]'$"):
        TensorRtEngine(
            replace(bundle, manifest=replace(bundle.manifest, plans=(ready,))), module="tensorrt_rtx"
        )


@no_gpu_here
def test_a_plan_that_cannot_be_opened_is_named_and_the_engine_closes(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine whose GPU is seen, and whose CUDA does not work."""
    monkeypatch.setattr(tensorrt, "gpu_name", lambda: H200)
    ready = plan(library="tensorrt_rtx", version=RTX_VERSION, gpu=None)
    within = replace(bundle, manifest=replace(bundle.manifest, plans=(ready,)))
    engine = TensorRtEngine(within, module="tensorrt_rtx")
    assert engine.name == f"tensorrt_rtx {H200}"
    refusal = rf"^{re.escape(engine.name)}: cannot open a\.plan: CUDA: cudaMallocHost: "
    for attempt in (engine.open_one, lambda: engine.warm_up((512, 128)), lambda: engine.warm_up((500, 100))):
        with pytest.raises(EngineError, match=refusal):
            attempt()
    with pytest.raises(BundleError, match=r"^frame: got 900x300, expected 512x128, "):
        engine.warm_up((900, 300))
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match=r"is closed$"):
        engine.warm_up((512, 128))


@pytest.mark.skipif(gpu_name() is None, reason="no GPU here")
@pytest.mark.parametrize("module", ["tensorrt", "tensorrt_rtx"])
def test_plans_say_what_onnx_runtime_says(module: str, tmp_path: Path) -> None:
    """One of a shape and one for a range, each run as it is and as a CUDA graph, with another shape between."""
    here = gpu_name()
    assert here is not None
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    if module == "tensorrt_rtx" and "(sm_90)" in here:
        pytest.skip("TensorRT for RTX builds nothing for this GPU")
    default = Bundle.load(default_bundle_path(), verify=False)
    weights = default.path_of(default.manifest.weights)
    shutil.copy(weights, tmp_path)
    least, most = (256, 64), (512, 128)
    plans = []
    for graph in default.manifest.graphs:
        if graph.shape not in (most, None) or graph.precision != "float32":
            continue
        shutil.copy(default.path_of(graph), tmp_path)
        built = build(
            default.path_of(graph),
            weights,
            module=module,
            between=(least, most) if graph.shape is None else None,
        )
        path = tmp_path / f"{Path(graph.file).stem}.plan"
        path.write_bytes(built.plan)
        ranged = {"least": least if graph.shape is None else most, "most": most}
        made = plan(path.name, library=module, version=built.version, gpu=here, graph=graph.file, **ranged)
        plans.append(replace(made, sha256=sha256_of(path)))
    assert len(plans) == 2
    whole = replace(default, folder=tmp_path, manifest=replace(default.manifest, plans=tuple(plans)))
    any_shape = next(made.graph for made in plans if made.least != made.most)
    session = onnxruntime.InferenceSession(tmp_path / any_shape)
    with closing(TensorRtEngine(whole, module=module, precision="float32")) as engine:
        for shape in (most, most, most, (480, 100), (480, 100), (256, 64), (480, 100), most):
            frames = np.random.default_rng(shape[0]).integers(-2000, 2000, shape, dtype=np.int16)
            pair = frames, np.roll(frames, 2, axis=0)
            inputs = graph_inputs("baseband", *pair, TYPICAL_SCAN.cycles_per_sample)
            expected = session.run(None, dict(zip(("reference", "current", "depths"), inputs, strict=True)))
            got = engine.run(*pair, TYPICAL_SCAN)
            np.testing.assert_allclose(got.displacement, expected[0], atol=0.1)
            np.testing.assert_allclose(got.strain, expected[1], atol=5e-3)
            np.testing.assert_allclose(got.quality, expected[2], atol=5e-2)
