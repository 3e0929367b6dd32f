"""`usert export --verify`: a bundle held against torch again, with the engines that run here."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from usert.bundle import Bundle, default_bundle_path, sha256_of, write_bundle
from usert.bundle.card import bundle_card
from usert.bundle.manifest import Graph
from usert.cli import main
from usert.errors import BundleError, OptionError
from usert.export.exporter import ExportConfig, export_bundle
from usert.export.onnx_session import open_onnx
from usert.export.verify import check_fit, recorded_pairs, verify_graph
from usert.frame import RFFrame
from usert.network.liteflownet import LiteFlowNet
from usert.network.weights import save_weights
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.recording import write_recording

SHAPE = (256, 64)


def recording(path: Path, frames: int, shape: tuple[int, int] = SHAPE) -> Path:
    scanner = SimulatedScanner(ScannerConfig(shape=shape), seed=3)
    made: list[RFFrame] = [scanner.frame(k) for k in range(frames)]
    write_recording(path, made)
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Trained weights to level 4, one small shape in float16, refined as the packaged bundles are not."""
    return export_bundle(
        default_bundle_path() / "weights.safetensors",
        tmp_path_factory.mktemp("verify") / "bundle",
        ExportConfig(
            shapes=[SHAPE],
            any_shape=False,
            precisions=("float16",),
            finest=4,
            strain_window=65,
            refinement="cheap",
        ),
    )


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The default bundle's graphs of any shape, in float32 and int8, alone."""
    default, folder = Bundle.load(default_bundle_path()), tmp_path_factory.mktemp("packaged") / "bundle"
    graphs = [graph for graph in default.manifest.graphs if graph.shape is None]
    manifest = replace(default.manifest, graphs=tuple(graphs), follow=())
    write_bundle(folder, manifest, [default.folder / name for name in manifest.files])
    return Bundle.load(folder)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Random weights of the front end `rf`, whose graph a plan is built of in seconds."""
    folder = tmp_path_factory.mktemp("planned")
    torch.manual_seed(3)
    network = LiteFlowNet(finest=4)
    with torch.no_grad():  # equal tensors would be merged
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    save_weights(network, folder / "weights.safetensors", recipe="random, for a test")
    config = ExportConfig(
        shapes=[SHAPE], any_shape=False, strain_window=65, refinement="off", plans=["tensorrt_rtx"]
    )
    return export_bundle(folder / "weights.safetensors", folder / "bundle", config)


@pytest.mark.parametrize("which", ["bundle", "packaged"])
def test_a_good_bundle_is_proven_with_every_engine(
    which: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: Bundle = request.getfixturevalue(which)
    graphs = made.manifest.graphs
    rf = recording(tmp_path / "rec.h5", 2)
    monkeypatch.setattr("sys.argv", ["usert", "export", "--verify", str(made.folder), "--recording", str(rf)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert ended.value.code in (0, None)
    for graph in graphs:
        for engine in ("onnxruntime CPUExecutionProvider", "openvino CPU"):
            assert f"{graph.file}, {engine}: displacement within" in out
    assert out.rstrip().endswith("proven with onnxruntime, openvino")
    assert "onnxruntime-cuda: not here: " in err
    assert "tensorrt-rtx: not here: " in err


def test_refinement_is_in_the_manifest(bundle: Bundle) -> None:
    assert bundle.manifest.refinement == "cheap"
    assert "refinement   cheap" in bundle_card(bundle)


def in_precision(bundle: Bundle, precision: str) -> Graph:
    (graph,) = [graph for graph in bundle.manifest.graphs if graph.precision == precision]
    return graph


def test_int8_shares_the_weights_and_is_int8(packaged: Bundle) -> None:
    model = onnx.load(packaged.path_of(in_precision(packaged, "int8")), load_external_data=False)
    external = [i for i in model.graph.initializer if i.data_location == onnx.TensorProto.EXTERNAL]
    assert {i.external_data[0].value for i in external} == {packaged.manifest.weights.file}
    # constants of the coarse map, and no copy of the weights, which in int8 are half as long as in that file
    weights = packaged.path_of(packaged.manifest.weights).stat().st_size
    assert sum(len(i.raw_data) for i in model.graph.initializer) < weights / 8
    made = {output: node for node in model.graph.node for output in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    whole = [node for node in convolutions if made.get(node.input[1], node).op_type == "DequantizeLinear"]
    assert len(whole) > 40


def test_float16_computes_with_the_stored_weights(bundle: Bundle) -> None:
    model = onnx.load(bundle.path_of(in_precision(bundle, "float16")), load_external_data=False)
    halves = {i.name for i in model.graph.initializer if i.data_type == onnx.TensorProto.FLOAT16}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert sum(node.input[1] in halves for node in convolutions) > 40
    flow = [node for node in convolutions if "scale_x" in node.input[1]]
    assert flow
    assert not any(node.input[1] in halves for node in flow)


def test_a_plan_says_what_it_is_for_and_that_it_did_not_run(planned: Bundle) -> None:
    (plan,) = planned.manifest.plans
    assert plan.graph == "strain_256x64.onnx"
    assert plan.library == "tensorrt_rtx"
    assert plan.least == plan.most == SHAPE
    assert planned.path_of(plan).stat().st_size == plan.bytes
    assert "not run: no GPU where it was built" in bundle_card(planned)


def test_a_damaged_plan_is_found_when_the_bundle_is_loaded(planned: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "copied"
    shutil.copytree(planned.folder, folder)
    (plan,) = planned.manifest.plans
    (folder / plan.file).write_bytes(b"half of it")
    with pytest.raises(BundleError, match=rf"{plan.file} .*sha256"):
        Bundle.load(folder)


def test_all_of_it_in_float16_is_refused(bundle: Bundle, packaged: Bundle, tmp_path: Path) -> None:
    """As a converter makes it, with displacement, grid and phase in float16, too; also by the limits of float16."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    plain, half = in_precision(packaged, "float32"), in_precision(bundle, "float16")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers that float16 does not hold
        naive = convert_float_to_float16(onnx.load(packaged.path_of(plain)), keep_io_types=True)
    onnx.save_model(naive, tmp_path / "naive.onnx")
    with pytest.raises(BundleError, match=r"^strain\.onnx, naive: .* float16 allows "):
        verify_graph(
            packaged, replace(plain, precision="float16"), open_onnx(tmp_path / "naive.onnx"), name="naive"
        )
    verify_graph(bundle, half, open_onnx(bundle.path_of(half)), name="mixed")


def test_a_graph_that_was_damaged_on_purpose_is_refused(planned: Bundle, tmp_path: Path) -> None:
    """One constant of the strain derivative, changed by a tenth, with its hash made good."""
    folder = tmp_path / "damaged"
    shutil.copytree(planned.folder, folder)
    path = folder / "strain_256x64.onnx"
    model = onnx.load(path, load_external_data=False)
    taps = next(i for i in model.graph.initializer if i.name.startswith("strain."))
    taps.raw_data = (1.1 * np.frombuffer(taps.raw_data, np.float32)).astype(np.float32).tobytes()
    path.write_bytes(model.SerializeToString())
    old = planned.manifest.graphs[0].sha256
    manifest = (folder / "manifest.json").read_text().replace(old, sha256_of(path))
    (folder / "manifest.json").write_text(
        manifest.replace(f'"bytes": {planned.manifest.graphs[0].bytes}', f'"bytes": {path.stat().st_size}')
    )
    damaged = Bundle.load(folder)
    with pytest.raises(BundleError, match=r"^strain_256x64\.onnx, ort: .*strain\w*: "):
        verify_graph(damaged, damaged.manifest.graphs[0], open_onnx(path), name="ort")


def test_pairs_are_spread_over_a_recording(tmp_path: Path) -> None:
    pairs = recorded_pairs([recording(tmp_path / "rec.h5", 9)], least_rows=65)
    assert len(pairs) == 3
    scanner = SimulatedScanner(ScannerConfig(shape=SHAPE), seed=3)
    for k, (reference, current, _) in zip((0, 4, 7), pairs, strict=True):
        np.testing.assert_array_equal(reference, scanner.frame(k).samples)
        np.testing.assert_array_equal(current, scanner.frame(k + 1).samples)


def test_a_recording_without_a_pair_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"rec\.h5: got 1 .*256 .*2 of 65"):
        recorded_pairs([recording(tmp_path / "rec.h5", 1)], least_rows=65)


def test_a_recording_that_no_graph_is_for_is_named() -> None:
    frame = np.zeros((100, 60), np.int16)
    with pytest.raises(OptionError, match=r"got .*100x60, expected 96x64, 128x64"):
        check_fit([(frame, frame)], [(96, 64), (128, 64)])
    check_fit([(frame, frame)], [(96, 64), None])


def test_ctrl_c_during_an_export_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    default = Bundle.load(default_bundle_path())
    weights = default.folder / default.manifest.weights.file
    words = ["export", "--weights", weights, "--out", tmp_path / "b", "--no-any-shape", "--shape", "128x64"]
    with subprocess.Popen(
        [sys.executable, "-m", "usert", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert first == "strain_128x64.onnx: exporting\n"
    assert rest == "usert: stopped, nothing was written\n"
    assert process.returncode == 130
    assert not list(tmp_path.iterdir())
