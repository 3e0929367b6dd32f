"""The graph as an ONNX file whose weights lie in the bundle's weights file.

A safetensors file is a header and raw tensors, so an ONNX file can name a tensor in it by offset, as external data.
One weights file then serves torch and every graph of a bundle. The weights are float16 on disk; a Cast gives the
float32 that the graph computes with, once, when it is loaded.

Knows nothing of accuracy. Invariant: every parameter of the network is read from the weights file; no copy of one
stays in the ONNX file.
"""

from __future__ import annotations

import json
import logging
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnx_ir
import torch
from onnx import TensorProto, helper
from onnx_ir.passes import common
from onnxscript.optimizer import fold_constants_ir

from usert.errors import WeightsError
from usert.front_end import (
    GRID_MULTIPLE,
    LINE_MULTIPLE,
    START_SHAPE,
    TYPICAL,
    FrontEnd,
    depth_grid,
    grid_rows,
)
from usert.network.smoothing import Smoothing

from .baseband_graph import FollowGraph
from .pair_graph import AnyGraph

OPSET = 18
"""The last one in which GridSample calls its mode `bilinear`: parsers of TensorRT up to 11.1 take the `linear` of opset
20 for the nearest pixel, without a word (https://github.com/NVIDIA/TensorRT/issues/4646)."""
FRAMES = ("reference", "current")
DEPTHS = "depths"
START = "start"
INPUTS: dict[FrontEnd, tuple[str, ...]] = {"rf": FRAMES, "baseband": (*FRAMES, DEPTHS)}
"""Names of a graph's inputs, in order, by its front end; a `FollowGraph` has `START`, too."""
OUTPUTS = ("displacement", "strain", "quality")
EXAMPLE_SHAPE = (330, 90)
"""Frame shape for tracing a graph of any shape: a multiple of nothing, so that no size looks like a constant."""
LARGEST_FOLDED = 2048
"""Elements of the largest constant that is stored instead of the operators that make it. Libraries fold larger ones,
such as differences of all pairs of rows, when they open a graph; stored they would be most of its file."""
PREFIX = "motion.network."
"""Prefix of the network's parameters in a graph."""


def write_onnx(
    graph: AnyGraph, shape: tuple[int, int] | None, path: Path, weights: Path, *, loops: bool = False
) -> None:
    """Trace `graph` and write it, by `trace_onnx` and `save_onnx`. Errors: `WeightsError` as in `save_onnx`."""
    save_onnx(trace_onnx(graph, shape, loops=loops), path, weights)


def trace_onnx(graph: AnyGraph, shape: tuple[int, int] | None, *, loops: bool = False) -> onnx.ModelProto:
    """Trace `graph` for frames of `shape` (N, M), or None for any shape, with its parameters inside.

    With the front end `baseband` a graph for a shape also has the depth grid of that shape at a `TYPICAL` sampling.
    With `loops` the steps of the refinement are ONNX loops: a CPU opens such a graph sooner and runs it a little
    faster, but a GPU cannot capture it as a CUDA graph.
    """
    rows, lines = shape or EXAMPLE_SHAPE
    names = INPUTS[graph.front_end]
    on_grid = graph.front_end == "baseband"
    frames = [
        torch.zeros((rows, lines + (-lines % LINE_MULTIPLE if on_grid else 0)), dtype=torch.int16)
        for _ in FRAMES
    ]
    free: dict[int, Any] = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    if on_grid:  # multiples are said, so that no size in the graph is left open
        free[1] = LINE_MULTIPLE * torch.export.Dim("line_blocks", min=2, max=512)
    axes = [free, free]
    if on_grid:
        frames.append(torch.from_numpy(depth_grid(grid_rows(rows, TYPICAL), TYPICAL)))
        axes.append({0: GRID_MULTIPLE * torch.export.Dim("row_blocks", min=2, max=4096)})
    if isinstance(graph, FollowGraph):
        names = (*names, START)
        frames.append(torch.zeros(START_SHAPE))
        axes.append({})
    with torch.no_grad(), _quiet(), _interruptible(), _looped(graph, loops):
        program = torch.onnx.export(
            graph.eval(),
            tuple(frames),
            input_names=list(names),
            output_names=list(OUTPUTS),
            opset_version=OPSET,
            dynamic_shapes=None if shape else dict(zip(names, axes, strict=True)),
            dynamo=True,
            optimize=False,
            verbose=False,
        )
        assert program is not None  # a programmer's mistake: only the old exporter returns None
        _simplify(program.model)
    model = program.model_proto
    _name_axes(model, (rows, frames[0].shape[1]) if shape else None)
    del model.metadata_props[:]
    _forget_origins(model.graph)
    return model


def _forget_origins(graph: onnx.GraphProto) -> None:
    """Take the stack traces of the tracing machine out of a graph, and what is known of its inner values."""
    del graph.value_info[:], graph.metadata_props[:]
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _forget_origins(attribute.g)


def _simplify(model: onnx_ir.Model) -> None:
    """What `optimize=True` of the exporter does, but for its rewriting of patterns.

    The libraries that run graphs rewrite them better, and with some thousand nodes it takes most of an export's time.
    """
    onnx_ir.passes.Sequential(common.InlinePass())(model)
    fold_constants_ir(model, onnx_shape_inference=True, output_size_limit=LARGEST_FOLDED)
    onnx_ir.passes.Sequential(
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call]
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )(model)


def save_onnx(model: onnx.ModelProto, path: Path, weights: Path) -> None:
    """Write a traced model to `path`, its parameters in the file `weights` beside it.

    Errors: `WeightsError` when a parameter of the model is not in the weights file.
    """
    referring = onnx.ModelProto()
    referring.CopyFrom(model)
    _refer_to(referring, weights)
    onnx.save_model(referring, path)


def is_parameter(name: str) -> bool:
    """Whether the initializer called `name` is one of the network's weights."""
    return name.startswith(PREFIX) and name.endswith((".weight", ".bias"))


@contextmanager
def _looped(graph: AnyGraph, loops: bool) -> Iterator[None]:
    """Traced meanwhile, the steps of `graph` become loops, or not."""
    solvers = [module for module in graph.modules() if isinstance(module, Smoothing)]
    before = [solver.looped for solver in solvers]
    for solver in solvers:
        solver.looped = loops
    try:
        yield
    finally:
        for solver, was in zip(solvers, before, strict=True):
            solver.looped = was


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C stays Ctrl-C: the exporter may make an error of its own of it."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            cause = cause.__cause__ or cause.__context__
        raise


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own internals and of packages that are not needed, and reports as an error that it does
    not classify a loop (`always_classified is unsupported`)."""
    quiet = {"torch.onnx": logging.ERROR, "onnxscript": logging.ERROR, "torch.export": logging.CRITICAL}
    loggers = [logging.getLogger(name) for name in quiet]
    levels = [logger.level for logger in loggers]
    for logger, level in zip(loggers, quiet.values(), strict=True):
        logger.setLevel(level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _refer_to(model: onnx.ModelProto, weights: Path) -> None:
    """Replace each parameter in the model by a reference into the weights file, and where it is float32 a Cast."""
    offsets = tensor_offsets(weights)
    kept, casts = [], []
    for initializer in model.graph.initializer:
        if not is_parameter(initializer.name):
            kept.append(initializer)
            continue
        name = initializer.name.removeprefix(PREFIX)
        if name not in offsets:
            raise WeightsError(f"{weights}: holds no {name}, which the graph needs")
        begin, end = offsets[name]
        half = initializer.data_type == TensorProto.FLOAT16
        stored = TensorProto(
            name=initializer.name if half else f"{name}.float16",
            data_type=TensorProto.FLOAT16,
            dims=initializer.dims,
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in (("location", weights.name), ("offset", begin), ("length", end - begin)):
            stored.external_data.add(key=key, value=str(value))
        kept.append(stored)
        if not half:
            casts.append(
                helper.make_node(
                    "Cast", [stored.name], [initializer.name], f"load {name}", to=TensorProto.FLOAT
                )
            )
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:], model.graph.value_info[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)


def tensor_offsets(weights: Path) -> dict[str, tuple[int, int]]:
    """First byte and end of each tensor in a safetensors file, by name (8 bytes of header length, JSON, data)."""
    with weights.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    start = 8 + length
    return {
        name: (start + entry["data_offsets"][0], start + entry["data_offsets"][1])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _name_axes(model: onnx.ModelProto, shape: tuple[int, int] | None) -> None:
    """State the shapes of inputs and outputs: N and M, or their numbers."""
    for value in (*model.graph.input, *model.graph.output):
        sides = value.type.tensor_type.shape.dim
        if value.name == START:
            continue
        if value.name == DEPTHS:
            if not sides[0].dim_value:
                sides[0].dim_param = "K"
            continue
        for side, name, size in zip(sides[-2:], ("N", "M"), shape or (0, 0), strict=True):
            side.Clear()
            if shape:
                side.dim_value = size
            else:
                side.dim_param = name
