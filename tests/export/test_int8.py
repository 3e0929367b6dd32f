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

from usert.export.int8 import KEPT, keep_signs, with_int8_weights
from usert.front_end import FrontEnd

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")
CHANNELS, SIDE = 8, 32
SEVEN_BITS = 63
SHAPE = (1, CHANNELS, SIDE, SIDE)
BY_OPENVINO = """
import sys
import numpy, openvino
core = openvino.Core()
piece = core.compile_model(core.read_model("piece.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
numpy.save("out.npy", piece([numpy.load("part.npy"), numpy.load("other.npy")])[0])
"""


ISAS = ("SSE41", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Instruction sets that oneDNN is held to, AMX aside, whose tiles do otherwise; where a machine lacks one, its best."""


def piece(most: int) -> onnx.ModelProto:
    """Two signed parts put together, quantised, and convolved with int8 weights: what happens before each head."""
    weights = (
        np.random.default_rng(5).integers(-most, most + 1, (CHANNELS, 2 * CHANNELS, 3, 3)).astype(np.int8)
    )
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
    model: onnx.ModelProto, inputs: dict[str, NDArray[np.float32]], folder: Path, isa: str
) -> NDArray[np.float32]:
    onnx.save(model, folder / "piece.onnx")
    for name, samples in inputs.items():
        np.save(folder / f"{name}.npy", samples)
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": isa}
    subprocess.run([sys.executable, "-c", BY_OPENVINO], cwd=folder, env=environment, check=True)
    return np.asarray(np.load(folder / "out.npy"))


@pytest.mark.parametrize("isa", ISAS)
def test_openvino_is_right_on_every_instruction_set(isa: str, tmp_path: Path) -> None:
    """It keeps the signs of what is put together, and weights of seven bits do not overflow where there is no VNNI."""
    model, random = piece(SEVEN_BITS), np.random.default_rng(6)
    inputs = {name: random.standard_normal(SHAPE).astype(np.float32) for name in ("part", "other")}
    plain = by_onnxruntime(model, inputs)
    keep_signs(model)
    onnx.checker.check_model(model)
    np.testing.assert_array_equal(by_onnxruntime(model, inputs), plain)  # a maximum that changes nothing
    apart = by_openvino(model, inputs, tmp_path, isa) - plain
    assert np.sqrt(np.mean(apart**2)) < 1e-5 * np.sqrt(np.mean(plain**2))


def test_weights_have_seven_bits() -> None:
    """As written by an export; what becomes of a weight beyond its range, too."""
    kernel = np.linspace(-1, 1, 3 * 4 * 9, dtype=np.float32).reshape(3, 4, 3, 3)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["reference", "motion.network.one.weight"], ["out"], pads=[1, 1, 1, 1])],
        "one",
        [helper.make_tensor_value_info("reference", TensorProto.FLOAT, (1, 4, 8, 8))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, (1, 3, 8, 8))],
        [numpy_helper.from_array(kernel, "motion.network.one.weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    data = [
        {"reference": np.random.default_rng(k).standard_normal((1, 4, 8, 8), np.float32)} for k in range(2)
    ]
    found = with_int8_weights(model, iter(data))
    scales = {
        i.name: numpy_helper.to_array(i) for i in found.graph.initializer if i.name.endswith("weight_scale")
    }
    (scale,) = scales.values()
    np.testing.assert_allclose(scale, np.abs(kernel).max(axis=(1, 2, 3)) / 63.5, rtol=0.02)


@pytest.mark.parametrize(("front_end", "in_int8"), [("rf", 1), ("baseband", 2)])
def test_the_first_layer_stays_in_float32_with_rf_alone(front_end: FrontEnd, in_int8: int) -> None:
    names = "motion.network.features.levels.0.0.weight", "motion.network.one.weight"
    kernel = np.linspace(-1, 1, 4 * 4 * 9, dtype=np.float32).reshape(4, 4, 3, 3)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["reference", names[0]], ["first"], "first", pads=[1, 1, 1, 1]),
            helper.make_node("Conv", ["first", names[1]], ["out"], "second", pads=[1, 1, 1, 1]),
        ],
        "two",
        [helper.make_tensor_value_info("reference", TensorProto.FLOAT, (1, 4, 8, 8))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, (1, 4, 8, 8))],
        [numpy_helper.from_array(kernel, name) for name in names],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    data = [{"reference": np.random.default_rng(0).standard_normal((1, 4, 8, 8), np.float32)}]
    found = with_int8_weights(model, iter(data), kept=KEPT[front_end])
    scales = [i.name for i in found.graph.initializer if i.name.endswith("weight_scale")]
    assert len(scales) == in_int8
