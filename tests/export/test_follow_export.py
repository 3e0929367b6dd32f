"""Graphs that follow: exported, proven, and traced with loops, as those for CPUs are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from usert.bundle import Bundle, default_bundle_path
from usert.bundle.card import bundle_card
from usert.bundle.manifest import Graph
from usert.errors import BundleError, OptionError
from usert.export import exporter
from usert.export.exporter import ExportConfig, export_bundle
from usert.network.liteflownet import LiteFlowNet
from usert.network.refine import as_kind
from usert.network.weights import save_weights

ON_GRID = default_bundle_path() / "weights.safetensors"
"""Weights of the front end `baseband`."""


def one_graph(network: LiteFlowNet, config: ExportConfig, stored: Path, *_: object) -> Iterator[Graph]:
    """The graph for any shape of the default bundle, beside `stored`."""
    default = Bundle.load(default_bundle_path())
    graph = default.manifest.graphs[0]
    shutil.copy(default.path_of(graph), stored.with_name(graph.file))
    yield graph


def test_graphs_that_follow_are_exported_proven_and_hold_no_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "_graphs", one_graph)  # tracing those takes as long again
    said: list[str] = []
    shape = (256, 64)
    made = export_bundle(
        ON_GRID,
        tmp_path / "bundle",
        ExportConfig(shapes=[shape], any_shape=False, refinement="cheap", follow=True),
        report=said.append,
    )
    (graph,) = made.manifest.follow
    assert (graph.file, graph.shape, graph.precision) == ("follow_256x64.onnx", shape, "float32")
    assert graph.grid_rows == 128
    assert graph.accuracy["max_abs_displacement_samples"] < 1e-3
    model = onnx.load(made.path_of(graph), load_external_data=False)
    assert [value.name for value in model.graph.input] == ["reference", "current", "depths", "start"]
    assert not any(initializer.external_data for initializer in model.graph.initializer)
    assert said[0] == "follow_256x64.onnx: exporting"
    assert "follow_256x64.onnx" in bundle_card(made)


@pytest.mark.parametrize("refinement", ["off", "full"])
def test_what_cannot_follow_is_refused_before_it_is_traced(
    refinement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without refinement, or of the front end `rf`."""
    on_samples = tmp_path / "weights.safetensors"
    save_weights(LiteFlowNet(finest=4), on_samples, recipe="random, for a test")
    monkeypatch.setattr(exporter, "_graphs", lambda *_: iter(()))
    config = ExportConfig(
        shapes=[(160, 64)], any_shape=False, refinement=as_kind(refinement, "refinement"), follow=True
    )
    with pytest.raises(OptionError, match="--follow: got front end"):
        export_bundle(ON_GRID if refinement == "off" else on_samples, tmp_path / "b", config)


def test_graphs_for_cpus_alone_are_traced_with_loops(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[bool] = []

    def stop(*_: object, loops: bool = False) -> None:
        asked.append(loops)
        raise BundleError("far enough")

    monkeypatch.setattr(exporter, "trace_onnx", stop)
    monkeypatch.setattr(exporter, "write_onnx", stop)
    for precision in ("float32", "float16", "int8"):
        config = ExportConfig(shapes=[(160, 64)], any_shape=False, precisions=[precision])
        with pytest.raises(BundleError, match="far enough"):
            export_bundle(ON_GRID, tmp_path / "bundle", config)
    monkeypatch.setattr(exporter, "_graphs", lambda *_: iter(()))
    with pytest.raises(BundleError, match="far enough"):
        export_bundle(
            ON_GRID, tmp_path / "bundle", ExportConfig(shapes=[(160, 64)], any_shape=False, follow=True)
        )
    assert asked == [False, False, True, True]
