"""An exported bundle says what torch says, shares one weights file, and replaces an older one only when proven."""

from __future__ import annotations

import inspect
import shutil
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from published_weights import published

from usert.bundle import Bundle
from usert.bundle.card import bundle_card
from usert.commands.export import export as export_command
from usert.errors import BundleError, MissingExtraError, OptionError, WeightsError
from usert.export import exporter, gate
from usert.export.exporter import ExportConfig, export_bundle
from usert.export.gate import FramePair, by_torch
from usert.export.graph import StrainGraph
from usert.export.onnx_graph import tensor_offsets
from usert.export.pair_graph import pair_graph
from usert.network.liteflownet import LiteFlowNet
from usert.network.refine import as_kind
from usert.network.weights import load_weights, save_weights
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.engines import open_engine
from usert.strain import STRAIN_WINDOW_SAMPLES

SHAPE = (96, 64)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    network = LiteFlowNet(finest=4)
    with torch.no_grad():  # heads that start near zero would hide differences, equal tensors would be merged
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_weights(network, path, recipe="random, for a test")
    return path


@pytest.fixture(scope="module")
def bundle(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("export") / "bundle"
    # random weights match nothing, and where nothing matches a phase is ambiguous
    return export_bundle(
        weights, folder, ExportConfig(shapes=[SHAPE], any_shape=False, strain_window=33, refinement="off")
    )


def _against_torch(bundle: Bundle, shape: tuple[int, int]) -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=shape), seed=1)
    network = load_weights(
        bundle.folder / bundle.manifest.weights.file, finest=bundle.manifest.network.levels[1]
    )
    graph = pair_graph(
        network,
        refinement=as_kind(bundle.manifest.refinement, "refinement"),
        samples=bundle.manifest.strain_window_samples,
        wavelengths=bundle.manifest.strain_window_wavelengths or 0.0,
    )
    reference, current = scanner.frame(4).samples, scanner.frame(8).samples
    expected = by_torch(graph, FramePair(reference, current))
    with closing(open_engine(bundle)) as engine:
        got = engine.run(reference, current, scanner.scan)
    assert np.abs(got.displacement - expected[0]).max() < 1e-3
    assert np.abs(got.strain - expected[1]).max() < 1e-4
    assert np.abs(got.quality - expected[2]).max() < 2e-3


def test_the_engine_says_what_torch_says(bundle: Bundle) -> None:
    _against_torch(bundle, SHAPE)


def test_no_copy_of_the_weights_stays_in_the_graph(bundle: Bundle) -> None:
    model = onnx.load(bundle.path_of(bundle.manifest.graphs[0]), load_external_data=False)
    external = [i for i in model.graph.initializer if i.data_location == onnx.TensorProto.EXTERNAL]
    names = {i.name.removesuffix(".float16") for i in external}
    assert names == set(tensor_offsets(bundle.folder / bundle.manifest.weights.file))
    assert sum(len(i.raw_data) for i in model.graph.initializer) < 200_000


def test_the_manifest_states_what_was_measured(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert manifest.reference == f"torch {torch.__version__}, float32"
    for figure, limit in gate.tolerances("float32").items():
        assert manifest.tolerances["float32"][figure] == limit
        assert 0 <= manifest.graphs[0].accuracy[figure] <= limit
    assert manifest.graphs[0].speed.milliseconds > 0
    assert manifest.graphs[0].speed.shape == SHAPE
    assert manifest.libraries["torch"] == torch.__version__
    assert manifest.network.levels == (6, 4)
    assert manifest.strain_window_samples == 33


def test_the_graph_has_no_loop(bundle: Bundle) -> None:
    model = onnx.load(bundle.path_of(bundle.manifest.graphs[0]), load_external_data=False)
    assert not {"Loop", "If", "Scan", "ScatterND", "Einsum"} & {node.op_type for node in model.graph.node}


def test_out_of_tolerance_is_refused_and_the_old_bundle_stays(
    bundle: Bundle, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = replace(gate.TOLERANCES["float32"], max_abs_displacement_samples=0.0)
    monkeypatch.setitem(gate.TOLERANCES, "float32", strict)
    traced = bundle.path_of(bundle.manifest.graphs[0])
    monkeypatch.setattr(exporter, "trace_onnx", lambda *_: traced)
    monkeypatch.setattr(exporter, "save_onnx", lambda model, path, weights: shutil.copy(model, path))
    before = bundle.sha256
    with pytest.raises(BundleError, match="max_abs_displacement_samples"):
        export_bundle(
            weights,
            bundle.folder,
            ExportConfig(shapes=[SHAPE], any_shape=False, strain_window=33, refinement="off"),
        )
    assert Bundle.load(bundle.folder).sha256 == before


def test_a_failure_while_exporting_keeps_the_old_bundle(
    bundle: Bundle, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BundleError("no space left")

    monkeypatch.setattr(exporter, "trace_onnx", fail)
    with pytest.raises(BundleError, match="no space left"):
        export_bundle(
            weights,
            bundle.folder,
            ExportConfig(shapes=[SHAPE], any_shape=False, strain_window=33, refinement="off"),
        )
    assert Bundle.load(bundle.folder).sha256 == bundle.sha256


def test_a_shape_shorter_than_the_strain_window_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"got 96x64, expected .*\b97\b"):
        export_bundle(weights, tmp_path / "bundle", ExportConfig(shapes=[SHAPE], any_shape=False))
    assert not (tmp_path / "bundle").exists()


def test_a_finer_level_than_the_weights_have_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"level 2, .*\b4\b"):
        export_bundle(
            weights, tmp_path / "bundle", ExportConfig(shapes=[(128, 64)], any_shape=False, finest=2)
        )


def test_full_refinement_needs_no_finer_level_than_3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By default; a level that is asked for is kept."""
    weights = tmp_path / "weights.safetensors"
    save_weights(LiteFlowNet(finest=2), weights, recipe="random, for a test")
    asked = []

    def stop(graph: StrainGraph, *_: object) -> None:
        asked.append(graph.motion.network.finest)
        raise BundleError("far enough")

    monkeypatch.setattr(exporter, "trace_onnx", stop)
    for kind, finest in (("full", None), ("full", 2), ("cheap", None), ("off", None)):
        with pytest.raises(BundleError, match="far enough"):
            export_bundle(
                weights, tmp_path / "bundle", ExportConfig(finest=finest, refinement=as_kind(kind, "kind"))
            )
    assert asked == [3, 2, 2, 2]


def test_published_weights_from_the_users_own_file(tmp_path: Path) -> None:
    state = {key: 0.02 * value for key, value in published("net").items()}
    torch.save(state, tmp_path / "network.pytorch")
    bundle = export_bundle(
        tmp_path / "network.pytorch",
        tmp_path / "bundle",
        ExportConfig(shapes=[SHAPE], any_shape=False, finest=5, strain_window=33, refinement="off"),
    )
    assert bundle.manifest.input.trained_for is None
    assert bundle.manifest.network.normalise_features is False
    assert "research use only: network.pytorch" in bundle_card(bundle)
    assert "images, not RF" in bundle_card(bundle)
    _against_torch(bundle, SHAPE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precisions": ["int4"]}, "--precision: got 'int4', expected float32, float16, int8"),
        ({"precisions": []}, "--precision: got none, expected one or more of float32"),
        ({"any_shape": False}, "--no-any-shape: got no --shape"),
        ({"plans": ["cudnn"]}, "--plan: got 'cudnn', expected tensorrt_rtx or tensorrt"),
        ({"plans": ["tensorrt"], "precisions": ["int8"]}, "--plan: got no --precision of float16 or float32"),
        ({"plan_range": ((32, 32), (64, 64))}, "--plan-range: got no --plan"),
        (
            {"plan_range": ((100, 32), (512, 128)), "plans": ["tensorrt_rtx"]},
            "TensorRT: got frames from 100x32 to 512x128, expected .*32",
        ),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_exported(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=f"^{message}"):
        ExportConfig(**options)


def test_a_missing_tensorrt_is_said_before_anything_is_exported(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    told: list[str] = []
    with pytest.raises(
        MissingExtraError, match=r"^tensorrt is not installed: pip install 'usert\[tensorrt\]'$"
    ):
        export_bundle(weights, tmp_path / "b", ExportConfig(plans=["tensorrt"]), report=told.append)
    assert told == []


def test_the_command_names_the_default_window_of_the_core() -> None:
    """It spells the number out, since numpy is not imported for `--help`."""
    option = inspect.signature(export_command).parameters["strain_window"].default
    assert option.default == ExportConfig().strain_window == STRAIN_WINDOW_SAMPLES


def test_the_graph_samples_in_the_way_that_every_parser_reads_rightly(bundle: Bundle) -> None:
    """TensorRT's up to 11.1 take the mode `linear`, of opset 20, for the nearest pixel."""
    model = onnx.load(bundle.path_of(bundle.manifest.graphs[0]), load_external_data=False)
    assert [opset.version for opset in model.opset_import] == [bundle.manifest.opset] == [18]
    sampling = [node for node in model.graph.node if node.op_type == "GridSample"]
    assert sampling
    assert {a.s for node in sampling for a in node.attribute if a.name == "mode"} == {b"bilinear"}
