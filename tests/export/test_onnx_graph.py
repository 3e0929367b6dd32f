"""Ctrl-C during an export ends it, whatever the exporter makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from usert.export.graph import StrainGraph
from usert.export.onnx_graph import write_onnx
from usert.network.liteflownet import LiteFlowNet


def interrupted(*_: object, **__: object) -> None:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        try:
            raise AttributeError("module has no attribute 'exc'")
        except AttributeError as error:
            raise RuntimeError("failed to export the model") from error


def failed(*_: object, **__: object) -> None:
    raise RuntimeError("failed to export the model")


@pytest.mark.parametrize(("export", "error"), [(interrupted, KeyboardInterrupt), (failed, RuntimeError)])
def test_ctrl_c_stays_ctrl_c(
    export: object, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As seen: an interrupt while torch imports its tracing machine comes out as its export error."""
    monkeypatch.setattr(torch.onnx, "export", export)
    graph = StrainGraph(LiteFlowNet(finest=4), strain_window=33)
    with pytest.raises(error):
        write_onnx(graph, (96, 64), tmp_path / "graph.onnx", tmp_path / "weights.safetensors")
    assert not list(tmp_path.iterdir())
