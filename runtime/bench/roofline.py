"""The roofline of a graph: a lower bound of its time, from its operations and bytes and the peak rates of a device.

Convolutions and matrix products of the ONNX file are counted, those of a loop as often as it runs, with their inputs
and outputs read and written once; all else (warps, refinement, activations) is left out, so the bound is too low rather
than too high.
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

    Errors: `MissingExtraError` without `onnx`, and for a graph of dynamic shape or with loops without `onnxscript`;
    `EngineError` for a file that is not a graph, or whose layers have no known shapes.
    """
    onnx = require("onnx", _EXTRA)
    try:
        model = onnx.load(str(path), load_external_data=False)
        if _dynamic(model):
            model = _folded(model, shape)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        counted = list(_counted(model, path))
    except (MissingExtraError, EngineError):
        raise
    except Exception as error:  # onnx, onnxscript and protobuf have no common base for what they raise
        raise EngineError(f"{path.name}: cannot be counted: {first_line(error)}") from error
    flops, moved, layers = 0.0, 0.0, 0
    for node, shapes, times in counted:
        flops += 2.0 * times * _macs(node, shapes, path)
        moved += times * sum(_bytes(shapes, name) for name in (*node.input, node.output[0]))
        layers += times
    return Cost(flops=flops, bytes=moved, layers=layers)


Shapes = dict[str, tuple[tuple[int, ...], int]]
"""Sizes, and type of an element by its number in ONNX, by the name of the tensor."""


def _counted(model: Any, path: Path) -> Iterator[tuple[Any, Shapes, int]]:
    """The counted layers of a model whose shapes are inferred, with these, and how often each runs."""
    shapes = _shapes(model.graph)
    for node in model.graph.node:
        if node.op_type in _KERNELS | _PRODUCTS:
            yield node, shapes, 1
        elif node.op_type == "Loop":
            body = _body(model, node, shapes, path)
            times = _trips(body.graph, path)
            for layer, inside, often in _counted(body, path):
                yield layer, inside, times * often


def _body(model: Any, loop: Any, shapes: Shapes, path: Path) -> Any:
    """The body of a loop as a model of its own, with the shapes that it has in the first step and keeps."""
    onnx = require("onnx", _EXTRA)
    (body,) = (attribute.g for attribute in loop.attribute if attribute.name == "body")
    stored = {constant.name: constant for constant in model.graph.initializer}
    own = {name for node in body.node for name in node.output} | {i.name for i in body.initializer}
    inputs, constants = list(body.input[:2]), list(body.initializer)
    for inner, outer in zip(body.input[2:], loop.input[2:], strict=True):
        known = shapes.get(outer) or _shapes_of(inner)
        if known is None:
            raise EngineError(f"{path.name}: cannot be counted: {outer} of a loop has no known shape")
        sizes, kind = known
        inputs.append(onnx.helper.make_tensor_value_info(inner.name, kind, sizes))
    inside = own | {given.name for given in inputs}
    used = dict.fromkeys(name for node in body.node for name in node.input if name and name not in inside)
    for name in used:
        if name in stored:
            constants.append(stored[name])
        elif name in shapes:
            sizes, kind = shapes[name]
            inputs.append(onnx.helper.make_tensor_value_info(name, kind, sizes))
    graph = onnx.helper.make_graph(body.node, body.name, inputs, list(body.output), constants)
    alone = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return onnx.shape_inference.infer_shapes(_with_constants(alone), data_prop=True)


def _trips(body: Any, path: Path) -> int:
    """How often a loop runs that counts from 0 up to a constant."""
    onnx = require("onnx", _EXTRA)
    constants = {constant.name: constant for constant in body.initializer}
    made = {name: node for node in body.node for name in node.output}
    condition = made.get(body.output[0].name)
    if condition is None or condition.op_type != "Less" or condition.input[1] not in constants:
        raise EngineError(f"{path.name}: cannot be counted: a loop of unknown length")
    return int(onnx.numpy_helper.to_array(constants[condition.input[1]]))


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
    sizes, kind = shapes.get(name, ((0,), 0))
    return math.prod(sizes) * _width(kind)


def _shapes(graph: Any) -> Shapes:
    found: Shapes = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if (known := _shapes_of(value)) is not None:
            found[value.name] = known
    for constant in graph.initializer:
        found[constant.name] = tuple(constant.dims), constant.data_type
    return found


def _shapes_of(value: Any) -> tuple[tuple[int, ...], int] | None:
    """Sizes and type of one tensor; None where a size is not known."""
    tensor = value.type.tensor_type
    sizes = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim)
    return None if not tensor.HasField("shape") or -1 in sizes else (sizes, tensor.elem_type)


def _width(kind: int) -> int:
    onnx = require("onnx", _EXTRA)
    return int(onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize) if kind else 0


def _dynamic(model: Any) -> bool:
    return any(
        not dim.HasField("dim_value") for i in model.graph.input for dim in i.type.tensor_type.shape.dim
    )


def _folded(model: Any, shape: tuple[int, int]) -> Any:
    """The same graph for one shape, with the arithmetic of its shapes done: inference cannot."""
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
    return _with_constants(model)


def _with_constants(model: Any) -> Any:
    """The same graph, with what follows from constants computed."""
    require("onnxscript", _EXTRA)
    import onnx_ir
    from onnxscript import optimizer

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
