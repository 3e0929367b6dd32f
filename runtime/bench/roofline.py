"""The roofline of a graph: a lower bound of its time, from its operations and bytes and the peak rates of a device.

Convolutions and matrix products of the ONNX file are counted, with their inputs and outputs read and written once; all
else (warps, refinement, activations) is left out, so the bound is too low rather than too high.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from usert.errors import EngineError, MissingExtraError, require
from usert.front_end import LINE_MULTIPLE, START_SHAPE, TYPICAL, grid_rows

from ..engines.bundle_engine import first_line

_KERNELS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "ConvTranspose": 1}
"""Index of the input that holds the weights, by operator."""
_PRODUCTS = {"MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3, "Gemm": 1}
_EXTRA = "export"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Peak rates of one device: the best that were measured."""

    flops: float
    """Floating-point operations a second, float32, two for a multiplication with its addition."""
    bytes: float
    """Bytes a second, read and written together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Operations and memory traffic of one run of a graph."""

    flops: float
    """Floating-point operations, two for a multiplication with its addition."""
    bytes: float
    """Bytes that the counted layers read and write."""
    layers: int

    def floor_ms(self, rates: Rates) -> float:
        """Lower bound of the time: the longer of computing and copying, which may overlap."""
        return 1e3 * max(self.flops / rates.flops, self.bytes / rates.bytes)

    def bound(self, rates: Rates) -> str:
        """Whether `FLOPs` or `bytes` set the bound."""
        return "FLOPs" if self.flops / rates.flops >= self.bytes / rates.bytes else "bytes"


@cache
def graph_cost(path: Path, shape: tuple[int, int]) -> Cost:
    """The cost of the graph in `path` for frames of `shape` (N, M).

    Errors: `MissingExtraError` without `onnx`, and for a graph of dynamic shape without `onnxscript`; `EngineError` for
    a file that is not a graph, or whose layers have no known shapes.
    """
    onnx = require("onnx", _EXTRA)
    try:
        model = onnx.load(str(path), load_external_data=False)
        if _dynamic(model):
            model = _folded(model, shape)
        shapes = _shapes(onnx.shape_inference.infer_shapes(model, data_prop=True))
    except MissingExtraError:
        raise
    except Exception as error:  # onnx, onnxscript and protobuf have no common base for what they raise
        raise EngineError(f"{path.name}: cannot be counted: {first_line(error)}") from error
    counted = [node for node in model.graph.node if node.op_type in _KERNELS | _PRODUCTS]
    flops = sum(_macs(node, shapes, path) for node in counted) * 2.0
    moved = sum(_bytes(shapes, name) for node in counted for name in (*node.input, node.output[0]))
    return Cost(flops=flops, bytes=float(moved), layers=len(counted))


Shapes = dict[str, tuple[tuple[int, ...], int]]
"""Sizes and bytes of an element, by the name of the tensor."""


def _macs(node: Any, shapes: Shapes, path: Path) -> float:
    at = (_KERNELS | _PRODUCTS)[node.op_type]
    data, weights, out = (shapes.get(name) for name in (node.input[0], node.input[at], node.output[0]))
    if data is None or weights is None or out is None:
        raise EngineError(f"{path.name}: cannot be counted: {node.op_type} {node.name} has no known shape")
    if node.op_type == "ConvTranspose":  # (Cin, Cout / groups, kernel): each input spreads over a kernel
        return math.prod(data[0]) * math.prod(weights[0][1:])
    if node.op_type in _KERNELS:  # (Cout, Cin / groups, kernel): each output gathers one
        return math.prod(out[0]) * math.prod(weights[0][1:])
    transposed = node.op_type == "Gemm" and any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(out[0]) * data[0][0 if transposed else -1]


def _bytes(shapes: Shapes, name: str) -> int:
    """Bytes of a tensor; 0 for an optional one that is absent."""
    sizes, each = shapes.get(name, ((0,), 0))
    return math.prod(sizes) * each


def _shapes(model: Any) -> Shapes:
    found: Shapes = {}
    graph = model.graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        sizes = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim)
        if tensor.HasField("shape") and -1 not in sizes:
            found[value.name] = sizes, _width(tensor.elem_type)
    for constant in graph.initializer:
        found[constant.name] = tuple(constant.dims), _width(constant.data_type)
    return found


def _width(kind: int) -> int:
    onnx = require("onnx", _EXTRA)
    return int(onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize) if kind else 0


def _dynamic(model: Any) -> bool:
    return any(
        not dim.HasField("dim_value") for i in model.graph.input for dim in i.type.tensor_type.shape.dim
    )


def _folded(model: Any, shape: tuple[int, int]) -> Any:
    """The same graph for one shape, with the arithmetic of its shapes done: inference cannot."""
    require("onnxscript", _EXTRA)
    import onnx_ir
    from onnxscript import optimizer

    sizes: dict[str, tuple[int, ...]] = {given.name: shape for given in model.graph.input}
    if "depths" in sizes:  # of a graph with a depth grid, whose lines are padded
        whole = shape[0], -(-shape[1] // LINE_MULTIPLE) * LINE_MULTIPLE
        sizes = dict.fromkeys(sizes, whole) | {
            "depths": (grid_rows(shape[0], TYPICAL),),
            "start": START_SHAPE,
        }
    for given in model.graph.input:
        for dim, size in zip(given.type.tensor_type.shape.dim, sizes[given.name], strict=True):
            dim.dim_value = size
    with _silent("onnx_ir", "onnxscript"):  # of weights that were not loaded
        fixed = onnx_ir.serde.deserialize_model(model)
        optimizer.fold_constants(fixed, onnx_shape_inference=True)
        return onnx_ir.serde.serialize_model(fixed)


@contextmanager
def _silent(*names: str) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
