"""An exported bundle says what torch says, shares one weights file, and replaces an older one only when proven."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from published_weights import published

from usert.bundle import Bundle, default_bundle_path
from usert.errors import BundleError, OptionError, WeightsError
from usert.export import exporter, gate
from usert.export.exporter import export_bundle
from usert.export.graph import StrainGraph
from usert.export.onnx_graph import tensor_offsets
from usert.network.liteflownet import LiteFlowNet
from usert.network.refine import as_kind
from usert.network.weights import load_weights, save_weights
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.runtime.engines import open_engine

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
    return export_bundle(weights, folder, shapes=[SHAPE], any_shape=False, strain_window=33, refinement="off")


def _against_torch(bundle: Bundle, shape: tuple[int, int]) -> None:
    scanner = SimulatedScanner(ScannerConfig(shape=shape), seed=1)
    network = load_weights(
        bundle.folder / bundle.manifest.weights.file, finest=bundle.manifest.network.levels[1]
    )
    graph = StrainGraph(
        network,
        strain_window=bundle.manifest.strain_window_samples,
        refinement=as_kind(bundle.manifest.refinement, "refinement"),
    ).eval()
    reference, current = scanner.frame(4).samples, scanner.frame(8).samples
    with torch.inference_mode():
        expected = [part.numpy() for part in graph(torch.from_numpy(reference), torch.from_numpy(current))]
    with closing(open_engine(bundle)) as engine:
        got = engine.run(reference, current)
    assert np.abs(got.displacement - expected[0]).max() < 1e-3
    assert np.abs(got.strain - expected[1]).max() < 1e-4
    assert np.abs(got.quality - expected[2]).max() < 2e-3


def test_the_engine_says_what_torch_says(bundle: Bundle) -> None:
    _against_torch(bundle, SHAPE)


@pytest.mark.parametrize("kind", ["cheap", "full"])
def test_refinement_is_in_the_graph_and_in_the_manifest(kind: str, tmp_path: Path) -> None:
    default = Bundle.load(default_bundle_path())
    bundle = export_bundle(
        default.folder / default.manifest.weights.file,
        tmp_path / "bundle",
        shapes=[SHAPE],
        any_shape=False,
        finest=4,
        strain_window=33,
        refinement=as_kind(kind, "kind"),
    )
    assert bundle.manifest.refinement == kind
    assert f"refinement   {kind}" in bundle.card()
    _against_torch(bundle, SHAPE)
    model = onnx.load(bundle.path_of(bundle.manifest.graphs[0]), load_external_data=False)
    assert not {"Loop", "If", "Scan", "ScatterND", "Einsum"} & {node.op_type for node in model.graph.node}


def test_no_copy_of_the_weights_stays_in_the_graph(bundle: Bundle) -> None:
    model = onnx.load(bundle.path_of(bundle.manifest.graphs[0]), load_external_data=False)
    external = [i for i in model.graph.initializer if i.data_location == onnx.TensorProto.EXTERNAL]
    names = {i.name.removesuffix(".float16") for i in external}
    assert names == set(tensor_offsets(bundle.folder / bundle.manifest.weights.file))
    assert sum(len(i.raw_data) for i in model.graph.initializer) < 200_000


def test_the_manifest_states_what_was_measured(bundle: Bundle) -> None:
    accuracy = bundle.manifest.accuracy
    assert accuracy["reference"] == "torch"
    for figure, limit in gate.TOLERANCES.items():
        assert accuracy[f"tolerance_{figure}"] == limit
        value = accuracy[figure]
        assert isinstance(value, float)
        assert 0 <= value <= limit
    assert bundle.manifest.network.levels == (6, 4)
    assert bundle.manifest.strain_window_samples == 33


def test_the_graph_has_no_loop(bundle: Bundle) -> None:
    model = onnx.load(bundle.path_of(bundle.manifest.graphs[0]), load_external_data=False)
    assert not {"Loop", "If", "Scan", "ScatterND", "Einsum"} & {node.op_type for node in model.graph.node}


def test_out_of_tolerance_is_refused_and_the_old_bundle_stays(
    bundle: Bundle, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gate.TOLERANCES, "max_abs_displacement_samples", 0.0)
    before = bundle.sha256
    with pytest.raises(BundleError, match="differs from torch"):
        export_bundle(
            weights, bundle.folder, shapes=[SHAPE], any_shape=False, strain_window=33, refinement="off"
        )
    assert Bundle.load(bundle.folder).sha256 == before


def test_a_failure_while_exporting_keeps_the_old_bundle(
    bundle: Bundle, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BundleError("no space left")

    monkeypatch.setattr(exporter, "write_onnx", fail)
    with pytest.raises(BundleError, match="no space left"):
        export_bundle(
            weights, bundle.folder, shapes=[SHAPE], any_shape=False, strain_window=33, refinement="off"
        )
    assert Bundle.load(bundle.folder).sha256 == bundle.sha256


def test_a_shape_shorter_than_the_strain_window_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="got 96x64, expected at least 97 samples along depth"):
        export_bundle(weights, tmp_path / "bundle", shapes=[SHAPE], any_shape=False)
    assert not (tmp_path / "bundle").exists()


def test_a_finer_level_than_the_weights_have_is_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="finest level 2, the file goes down to 4"):
        export_bundle(weights, tmp_path / "bundle", shapes=[(128, 64)], any_shape=False, finest=2)


def test_full_refinement_needs_no_finer_level_than_3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By default; a level that is asked for is kept."""
    default = Bundle.load(default_bundle_path())
    weights = default.folder / default.manifest.weights.file
    asked = []

    def stop(graph: StrainGraph, *_: object) -> None:
        asked.append(graph.network.finest)
        raise BundleError("far enough")

    monkeypatch.setattr(exporter, "write_onnx", stop)
    for kind, finest in (("full", None), ("full", 2), ("cheap", None), ("off", None)):
        with pytest.raises(BundleError, match="far enough"):
            export_bundle(weights, tmp_path, finest=finest, refinement=as_kind(kind, "kind"))
    assert asked == [3, 2, 2, 2]


def test_published_weights_from_the_users_own_file(tmp_path: Path) -> None:
    state = {key: 0.02 * value for key, value in published("net").items()}
    torch.save(state, tmp_path / "network.pytorch")
    bundle = export_bundle(
        tmp_path / "network.pytorch",
        tmp_path / "bundle",
        shapes=[SHAPE],
        any_shape=False,
        finest=4,
        strain_window=33,
    )
    assert bundle.manifest.input.trained_for is None
    assert bundle.manifest.network.normalise_features is False
    assert "research use only: network.pytorch" in bundle.card()
    assert "images, not RF" in bundle.card()
    _against_torch(bundle, SHAPE)


@pytest.mark.parametrize("shape", [(512, 128), (150, 90), (333, 77), (97, 32)])
def test_the_default_bundle_says_what_torch_says_for_any_shape(shape: tuple[int, int]) -> None:
    _against_torch(Bundle.load(default_bundle_path()), shape)
