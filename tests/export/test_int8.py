"""What int8 is made of, in the smallest piece that goes wrong without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from usert.export.int8 import keep_signs

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")
CHANNELS, SIDE = 8, 32
SHAPE = (1, CHANNELS, SIDE, SIDE)
BY_OPENVINO = """
import sys
import numpy, openvino
core = openvino.Core()
piece = core.compile_model(core.read_model("piece.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
numpy.save("out.npy", piece([numpy.load("part.npy"), numpy.load("other.npy")])[0])
"""


def piece() -> onnx.ModelProto:
    """Two signed parts put together, quantised, and convolved with int8 weights: what happens before each head."""
    weights = np.random.default_rng(5).integers(-127, 128, (CHANNELS, 2 * CHANNELS, 3, 3), dtype=np.int8)
    values = {
        "scale": np.float32(3 / 127),
        "zero": np.int8(0),
        "weights": weights,
        "weight_scales": np.full(CHANNELS, 1 / 127, np.float32),
        "weight_zeros": np.zeros(CHANNELS, np.int8),
    }
    nodes = [
        helper.make_node("Concat", ["part", "other"], ["whole"], axis=1),
        helper.make_node("QuantizeLinear", ["whole", "scale", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["rounded"]),
        helper.make_node(
            "DequantizeLinear", ["weights", "weight_scales", "weight_zeros"], ["kernel"], axis=0
        ),
        helper.make_node("Conv", ["rounded", "kernel"], ["out"], pads=[1, 1, 1, 1]),
    ]
    part, other, out = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("part", "other", "out")
    )
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "piece", [part, other], [out], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def by_onnxruntime(model: onnx.ModelProto, inputs: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


def by_openvino(
    model: onnx.ModelProto, inputs: dict[str, NDArray[np.float32]], folder: Path
) -> NDArray[np.float32]:
    """On a CPU's vector units: its tiles (AMX) keep the signs anyway, and would hide what others do."""
    onnx.save(model, folder / "piece.onnx")
    for name, samples in inputs.items():
        np.save(folder / f"{name}.npy", samples)
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}
    subprocess.run([sys.executable, "-c", BY_OPENVINO], cwd=folder, env=environment, check=True)
    return np.asarray(np.load(folder / "out.npy"))


def test_openvino_keeps_the_signs_of_what_is_put_together(tmp_path: Path) -> None:
    model, random = piece(), np.random.default_rng(6)
    inputs = {name: random.standard_normal(SHAPE).astype(np.float32) for name in ("part", "other")}
    plain = by_onnxruntime(model, inputs)
    keep_signs(model)
    onnx.checker.check_model(model)
    np.testing.assert_array_equal(by_onnxruntime(model, inputs), plain)  # a maximum that changes nothing
    apart = by_openvino(model, inputs, tmp_path) - plain
    assert np.sqrt(np.mean(apart**2)) < 0.01 * np.sqrt(np.mean(plain**2))
