"""A traced graph with the network's convolutions in int8, for CPUs: static quantisation (QDQ) by ONNX Runtime.

Activations get the range that they have on simulated pairs, weights one of their own an output channel; all ranges
are symmetric about 0 and biases stay float32, since TensorRT takes nothing else. The first layer, which sees the
echoes, and those that give the flow stay in float32: that halves the error and costs no time
(`benchmarks/RESULTS.md`). What comes after the network is untouched.

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

import numpy as np
import onnx
from onnx import helper, numpy_helper

from usert.phantom.scanner import ScannerConfig, SimulatedScanner
from usert.silent import import_onnxruntime

from .gate import Frame, mask_corner
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
KEPT = ("features.levels.0.", "head.6.", "scale_x.", "scale_y.")
"""In the names of weights whose convolutions stay in float32."""
SEEDS = (1000, 1001, 1002)
"""Of simulated scanners that the gate's own is not among."""
FRAMES = ((1, 3), (3, 9), (0, 12), (5, 6))
"""Pairs of frames of each: .05 to 3 % of strain."""
SHIFTED = ((5, 6, 30), (9, 3, -30))
"""And pairs whose second frame is taken so many samples deeper, the most that the network has learned
(`usert.train.pairs`): where a whole frame moves, the ranges would be too short without."""


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Simulated pairs of `shape` (N, M), each whole and with a masked corner, then the `recorded` ones."""

    def __init__(self, shape: tuple[int, int], recorded: Sequence[tuple[Frame, Frame]] = ()) -> None:
        self._pairs = self._all(shape, recorded)

    def _all(
        self, shape: tuple[int, int], recorded: Sequence[tuple[Frame, Frame]]
    ) -> Iterator[tuple[Frame, Frame]]:
        rows, most = shape[0], max(shift for *_, shift in SHIFTED)
        for seed in SEEDS:
            scanner = SimulatedScanner(ScannerConfig(shape=(rows + most, shape[1])), seed=seed)
            for i, j, shift in (*((i, j, 0) for i, j in FRAMES), *SHIFTED):
                first = max(0, -shift)
                reference = scanner.frame(i).samples[first : first + rows].copy()
                current = scanner.frame(j).samples[first + shift : first + shift + rows].copy()
                yield reference.copy(), current.copy()
                mask_corner(reference, current)
                yield reference, current
        yield from recorded

    def get_next(self) -> dict[str, Frame] | None:
        pair = next(self._pairs, None)
        return None if pair is None else dict(zip(INPUTS, pair, strict=True))


def quantised(
    model: onnx.ModelProto, shape: tuple[int, int], recorded: Sequence[tuple[Frame, Frame]] = ()
) -> onnx.ModelProto:
    """A copy of a traced float32 `model` in int8, its ranges from pairs of `shape` (N, M) and the `recorded` ones."""
    nodes = [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv"
        and is_parameter(node.input[1])
        and not any(part in node.input[1] for part in KEPT)
    ]
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with tempfile.TemporaryDirectory(prefix="usert-int8-") as scratch, _quiet():
        path = Path(scratch) / "int8.onnx"
        quantize_static(
            copy,
            path,
            Calibration(shape, recorded),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=nodes,
            per_channel=True,
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
    """Put a maximum, which changes nothing, between each concatenation and its quantisation.

    OpenVINO (2026.4) quantises the parts instead, and on vector units (VNNI) loses their signs. A maximum with the
    least that int8 holds stops it; `Clip`, which would say the same, is taken out again.
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
