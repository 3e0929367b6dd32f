"""An exported graph as TensorRT takes it, and whether TensorRT can build it; no GPU is needed for either.

TensorRT has no int16. So the graph gets the bytes of the frames, uint8 (N, M, 2), little end first, and makes the
samples itself: as many bytes go over the bus as before, and what comes out is the same to the bit.

`tensorrt` and `tensorrt_rtx` have one interface; which of them is a parameter. Knows graphs of one shape; nothing
of running them. Invariant: a graph that was built is one that the parser took whole.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from usert.errors import BundleError, OptionError, require

from .onnx_graph import INPUTS

MODULES = {"tensorrt_rtx": "rtx", "tensorrt": "tensorrt"}
"""Python modules, and the extras that bring them."""


def with_bytes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of an exported model of one shape whose inputs are the bytes of the frames, uint8 (N, M, 2).

    Errors: `OptionError` for a model of any shape.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants: dict[str, NDArray[np.float32] | NDArray[np.int64]] = {
        "bytes.places": np.array([1.0, 256.0], np.float32),
        "bytes.last": np.array([-1], np.int64),
        "bytes.highest": np.array([32767.0], np.float32),
        "bytes.turn": np.array([65536.0], np.float32),
    }
    copy.graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items())
    nodes = []
    for value in copy.graph.input:
        sides = [side.dim_value for side in value.type.tensor_type.shape.dim]
        if not all(sides):
            raise OptionError(
                "TensorRT: got a graph of any shape, expected one of a shape: export with --shape"
            )
        name = value.name
        value.CopyFrom(helper.make_tensor_value_info(f"{name}_bytes", TensorProto.UINT8, [*sides, 2]))
        nodes += [
            helper.make_node("Cast", [f"{name}_bytes"], [f"{name}.parts"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.parts", "bytes.places"], [f"{name}.weighed"]),
            helper.make_node("ReduceSum", [f"{name}.weighed", "bytes.last"], [f"{name}.word"], keepdims=0),
            helper.make_node("Greater", [f"{name}.word", "bytes.highest"], [f"{name}.negative"]),
            helper.make_node("Sub", [f"{name}.word", "bytes.turn"], [f"{name}.turned"]),
            # float32 from here on, whole numbers; the graph's own first step is a cast to that
            helper.make_node("Where", [f"{name}.negative", f"{name}.turned", f"{name}.word"], [name]),
        ]
    rest = list(copy.graph.node)
    del copy.graph.node[:]
    copy.graph.node.extend([*nodes, *rest])
    return copy


def as_bytes(frame: NDArray[np.int16]) -> NDArray[np.uint8]:
    """A frame (N, M) int16 as the (N, M, 2) uint8 that `with_bytes` takes; shares memory where it can."""
    little = np.ascontiguousarray(frame, dtype="<i2")
    return little.view(np.uint8).reshape(*frame.shape, 2)


def build(path: Path, weights: Path, *, module: str = "tensorrt_rtx") -> bytes:
    """The engine that TensorRT makes of the graph file `path`, whose parameters are in `weights`.

    It is for the library's own choice of GPUs, and holds its version. Errors: `OptionError` for another module,
    `MissingExtraError`, `BundleError` with the parser's first complaint, or when nothing was built.
    """
    if module not in MODULES:
        raise OptionError(f"TensorRT: got module {module!r}, expected {' or '.join(MODULES)}")
    trt = require(module, MODULES[module])
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    with tempfile.TemporaryDirectory(prefix="usert-tensorrt-") as scratch:
        shutil.copy(weights, scratch)  # beside the graph, which names it as external data
        changed = Path(scratch) / path.name
        onnx.save_model(with_bytes(onnx.load(path, load_external_data=False)), changed)
        parsed = parser.parse_from_file(str(changed))
        if not parsed or not _has_inputs(network):
            complaint = parser.get_error(0).desc() if parser.num_errors else "inputs are missing"
            raise BundleError(f"{path.name}: {module} cannot take it: {complaint.splitlines()[0]}")
        engine = builder.build_serialized_network(network, builder.create_builder_config())
    if engine is None:
        raise BundleError(f"{path.name}: {module} built nothing of it")
    return bytes(engine)


def _has_inputs(network: object) -> bool:
    count: int = network.num_inputs  # type: ignore[attr-defined]
    names = {network.get_input(k).name for k in range(count)}  # type: ignore[attr-defined]
    return names == {f"{name}_bytes" for name in INPUTS}
