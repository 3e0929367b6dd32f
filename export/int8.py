"""A traced graph with the network's convolutions in int8, for CPUs: static quantisation (QDQ) by ONNX Runtime.

Activations get the range that they have on simulated pairs, weights one of their own an output channel; all ranges
are symmetric about 0 and biases stay float32, since TensorRT takes nothing else. Weights have seven bits: without VNNI
a CPU adds two products of eight bits in sixteen, which do not hold them (SSE4.1 to AVX-512: 12 % off in
`tests/export/test_int8.py`; with seven bits exact). Layers that give the flow
stay in float32, and with the front end `rf` the first one, which sees the echoes, too: that halves the error and costs
no time (`benchmarks/RESULTS.md`). With `baseband` the first layer is a third of the network's time, and what int8
takes from its channels does not show. What comes after the network is untouched.

Knows nothing of bundles. Invariant: parameters stay float32 in the graph, and become int8 when it is loaded, so that
they are still those of the one weights file.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from usert.front_end import FrontEnd, graph_inputs
from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.silent import import_onnxruntime

from .gate import FramePair, mask_corner
from .onnx_graph import INPUTS, is_parameter

import_onnxruntime()
from onnxruntime.quantization import (  # noqa: E402
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

RANGES_SHAPE = (1024, 256)
"""Frames that the graph for any shape takes its ranges from: those of small frames are too short for large ones."""
FLOW = ("head.6.", "scale_x.", "scale_y.")
KEPT: dict[FrontEnd, tuple[str, ...]] = {"rf": ("features.levels.0.", *FLOW), "baseband": FLOW}
"""In the names of weights whose convolutions stay in float32."""
SEEDS = (1000, 1001, 1002)
"""Of simulated scanners that the gate's own is not among."""
FRAMES = ((1, 3), (3, 9), (0, 12), (5, 6))
"""Pairs of frames of each: .05 to 3 % of strain."""
SHIFTED = ((5, 6, 30), (9, 3, -30))
"""And pairs whose second frame is taken so many samples deeper, the most that the network has learned
(`usert.train.pretrain.pairs`): where a whole frame moves, the ranges would be too short without."""


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """An iterator as the library wants it."""

    def __init__(self, data: Iterator[dict[str, NDArray[Any]]]) -> None:
        self._data = data

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._data, None)


class Calibration:
    """Inputs of a graph to take ranges from: simulated pairs, each also with a masked corner, then `recorded` ones.

    An iterator; the simulated frames have `shape` (N, M).
    """

    def __init__(
        self, shape: tuple[int, int], recorded: Sequence[FramePair] = (), *, front_end: FrontEnd = "rf"
    ) -> None:
        self._front_end = front_end
        self._pairs = self._all(shape, recorded)

    def _all(self, shape: tuple[int, int], recorded: Sequence[FramePair]) -> Iterator[FramePair]:
        rows, most = shape[0], max(shift for *_, shift in SHIFTED)
        for seed in SEEDS:
            scanner = SimulatedScanner(ScannerConfig(shape=(rows + most, shape[1])), seed=seed)
            for i, j, shift in (*((i, j, 0) for i, j in FRAMES), *SHIFTED):
                first = max(0, -shift)
                reference = scanner.frame(i).samples[first : first + rows].copy()
                current = scanner.frame(j).samples[first + shift : first + shift + rows].copy()
                yield FramePair(reference.copy(), current.copy())
                mask_corner(reference, current)
                yield FramePair(reference, current)
        yield from recorded

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        return self

    def __next__(self) -> dict[str, NDArray[Any]]:
        inputs = graph_inputs(self._front_end, *next(self._pairs))
        return dict(zip(INPUTS[self._front_end], inputs, strict=True))


def quantised(
    model: onnx.ModelProto,
    shape: tuple[int, int],
    recorded: Sequence[FramePair] = (),
    *,
    front_end: FrontEnd = "rf",
) -> onnx.ModelProto:
    """A copy of a traced float32 `model` in int8, its ranges from pairs of `shape` (N, M) and the `recorded` ones."""
    data = Calibration(shape, recorded, front_end=front_end)
    return with_int8_weights(model, data, kept=KEPT[front_end])


def with_int8_weights(
    model: onnx.ModelProto, data: Iterator[dict[str, NDArray[Any]]], *, kept: Sequence[str] = KEPT["rf"]
) -> onnx.ModelProto:
    """A copy of `model` whose convolutions, but for those of `kept` weights, are in int8.

    The ranges of their inputs come from `data`, inputs of the graph by name.
    """
    nodes = [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv"
        and is_parameter(node.input[1])
        and not any(part in node.input[1] for part in kept)
    ]
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with tempfile.TemporaryDirectory(prefix="usert-int8-") as scratch, _quiet():
        path = Path(scratch) / "int8.onnx"
        quantize_static(
            copy,
            path,
            _Reader(data),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=nodes,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "AddQDQPairToWeight": True,
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
            },
        )
        found: onnx.ModelProto = onnx.load(path)
    keep_signs(found)
    return found


def keep_signs(model: onnx.ModelProto) -> None:
    """Insert a maximum, which changes nothing, between each concatenation of `model` and its quantisation, in place.

    OpenVINO (2026.4) quantises the parts instead, and on vector units (VNNI) loses their signs. A maximum with the
    least value of int8 prevents that; `Clip`, of the same meaning, is optimised away.
    """
    made = {output: node for node in model.graph.node for output in node.output}
    values = {initializer.name: initializer for initializer in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        whole = node.input[0] if node.op_type == "QuantizeLinear" else ""
        if whole in made and made[whole].op_type == "Concat":
            least = np.iinfo(np.int8).min * numpy_helper.to_array(values[node.input[1]])
            model.graph.initializer.append(numpy_helper.from_array(least, f"{whole}.least"))
            node.input[0] = f"{whole}.bounded"
            nodes.append(helper.make_node("Max", [whole, f"{whole}.least"], [node.input[0]]))
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


@contextmanager
def _quiet() -> Iterator[None]:
    """The library recommends a preparation that folds constants; the tracer has folded them."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.setLevel(level)
