"""What a traced graph stores, and Ctrl-C during an export, which ends it, whatever the exporter makes of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from usert.export.graph import StrainGraph
from usert.export.onnx_graph import LARGEST_FOLDED, OUTPUTS, trace_onnx, write_onnx
from usert.front_end import FrontEnd
from usert.network.liteflownet import LiteFlowNet
from usert.network.smoothing import Grid, Roughness, Smoothing


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


class Distances(nn.Module):
    """A graph whose strain is a product with the distances of all pairs of rows, which depend on the shape alone."""

    front_end: FrontEnd = "rf"

    def forward(self, reference: Tensor, current: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows = torch.arange(reference.shape[0], dtype=torch.float32)
        strain = torch.matmul((rows[:, None] - rows).abs(), reference.float())
        return torch.stack((strain, strain)), strain, strain - current


def test_large_constants_are_not_stored_but_made_when_the_graph_is_opened() -> None:
    shape = (96, 64)
    model = trace_onnx(cast(Any, Distances()), shape)
    assert shape[0] ** 2 > LARGEST_FOLDED
    assert max(math.prod(constant.dims) for constant in model.graph.initializer) <= LARGEST_FOLDED
    frame = np.random.default_rng(1).integers(-100, 100, shape, dtype=np.int16)
    strain = onnxruntime.InferenceSession(model.SerializeToString()).run(
        [OUTPUTS[1]], {"reference": frame, "current": frame}
    )[0]
    rows = np.arange(96.0)
    assert np.allclose(strain, np.abs(rows[:, None] - rows) @ frame, rtol=1e-6)


class Smooth(nn.Module):
    """A graph whose strain is one smooth field about the first frame, weighted by the second."""

    front_end: FrontEnd = "rf"

    def __init__(self) -> None:
        super().__init__()
        self.smoothing = Smoothing(3)

    def forward(self, reference: Tensor, current: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        measured, weight = reference.float()[None, None], 1 + current.float().abs()[None, None]
        grid, one = Grid(measured), torch.full((1, 1, 1, 1), 30.0)
        penalty = self.smoothing.penalty(grid, Roughness(along=one, mixed=one, across=one))
        strain = self.smoothing(grid, measured, weight, penalty, torch.zeros_like(measured))[0, 0]
        return torch.stack((strain, strain)), strain, strain - current


@pytest.mark.parametrize(
    ("shape", "loops"),
    [pytest.param((96, 64), True, marks=pytest.mark.slow), (None, True), ((96, 64), False)],
)
def test_steps_of_a_solver_are_a_loop_if_asked_and_say_what_torch_says(
    shape: tuple[int, int] | None, loops: bool
) -> None:
    graph = Smooth()
    model = trace_onnx(cast(Any, graph), shape, loops=loops)
    assert [node.op_type for node in model.graph.node].count("Loop") == loops
    assert graph.smoothing.looped is False
    content = model.SerializeToString()
    assert b"Traceback" not in content
    assert str(Path(__file__).parents[2]).encode() not in content
    rng = np.random.default_rng(1)
    frames = [rng.integers(-100, 100, shape or (65, 33), dtype=np.int16) for _ in range(2)]
    with torch.inference_mode():
        expected = [part.numpy() for part in graph(*map(torch.from_numpy, frames))]
    session = onnxruntime.InferenceSession(content)
    got = session.run(list(OUTPUTS), dict(zip(("reference", "current"), frames, strict=True)))
    assert np.abs(expected[1]).max() > 10
    for one, other in zip(got, expected, strict=True):
        assert np.abs(one - other).max() < 1e-3
