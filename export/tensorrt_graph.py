"""An exported graph in the form that TensorRT takes, and the plan that it builds of it; neither needs a GPU.

TensorRT has no int16. So the graph gets the bytes of the frames, uint8 (N, M, 2), little end first, and makes the
samples itself: as many bytes go over the bus as before, and the result is the same to the bit.

A graph of any shape is built for a range of shapes whose sides are multiples of 32: TensorRT cannot follow the
arithmetic by which the graph pads other frames, so that is taken out, and the runner of the plan pads.

`tensorrt` and `tensorrt_rtx` have one interface; which of them is a parameter. Knows nothing of running plans.
Invariant: a graph that was built is one that the parser took whole.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from usert.errors import BundleError, OptionError, require
from usert.frame import Shape
from usert.front_end import CYCLES_PER_SAMPLE, GRID_MULTIPLE, TYPICAL, grid_rows
from usert.network.liteflownet import MULTIPLE

from .onnx_graph import DEPTHS, FRAMES, OPSET

MODULES = {"tensorrt_rtx": "rtx", "tensorrt": "tensorrt"}
"""Python modules, and the extras that bring them."""


class Built(NamedTuple):
    """A plan as bytes, the library's version, and the time of the build in seconds."""

    plan: bytes
    version: str
    seconds: float


def with_bytes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of an exported model whose inputs are the bytes of the frames, uint8 (N, M, 2).

    A model of any shape is then for sides that are multiples of 32 only.
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
        if value.name == DEPTHS:
            continue
        sides = [side.dim_value or side.dim_param for side in value.type.tensor_type.shape.dim]
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
    if not all(side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim):
        _take_out_padding(copy)
    del copy.graph.node[:]
    copy.graph.node.extend([*nodes, *rest])
    return copy


def as_opset_18(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of an exported model in opset 18, of which every parser takes GridSample for what it is (`OPSET`).

    Of the operators that a graph uses, those of opset 20 differ by that one's mode alone and by types of tensors.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for opset in copy.opset_import:
        opset.version = OPSET
    for node in copy.graph.node:
        for attribute in node.attribute if node.op_type == "GridSample" else ():
            if attribute.s == b"linear":
                attribute.s = b"bilinear"
    return copy


def as_bytes(frame: NDArray[np.int16]) -> NDArray[np.uint8]:
    """A frame int16 (N, M) as the uint8 (N, M, 2) that `with_bytes` takes; shares memory where it can."""
    little = np.ascontiguousarray(frame, dtype="<i2")
    return little.view(np.uint8).reshape(*frame.shape, 2)


def build(
    path: Path,
    weights: Path,
    *,
    module: str = "tensorrt_rtx",
    between: tuple[Shape, Shape] | None = None,
) -> Built:
    """Build the plan of the graph file `path`, whose parameters are in `weights`, by TensorRT.

    `between` is the smallest and largest frame of a graph of any shape. The plan is for the GPU here, or with
    `tensorrt_rtx` for the library's own choice of GPUs. Errors: `OptionError` for an unknown module or impossible
    shapes; `MissingExtraError`; `BundleError` with the parser's first complaint, or when nothing was built.
    """
    if module not in MODULES:
        raise OptionError(f"TensorRT: got module {module!r}, expected {' or '.join(MODULES)}")
    model = onnx.load(path, load_external_data=False)
    shaped = all(side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim)
    if shaped == (between is not None):
        raise OptionError(
            f"TensorRT: {path.name}: expected a range of shapes for a graph of any shape, and no other"
        )
    check_range(between)
    trt = require(module, MODULES[module])
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="usert-tensorrt-") as scratch:
        shutil.copy(weights, scratch)  # beside the graph, which names it as external data
        changed = Path(scratch) / path.name
        onnx.save_model(with_bytes(as_opset_18(model)), changed)
        parsed = parser.parse_from_file(str(changed))
        if not parsed or not _has_inputs(network):
            complaint = parser.get_error(0).desc() if parser.num_errors else "inputs are missing"
            raise BundleError(f"{path.name}: {module} cannot take it: {complaint.splitlines()[0]}")
        config = builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)  # float32 is to be float32
        if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):  # of RTX, which else may refuse a CUDA graph
            config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
        if between is not None:
            profile = builder.create_optimization_profile()
            for name in FRAMES:
                sizes = [(*shape, 2) for shape in (between[0], between[1], between[1])]
                profile.set_shape(f"{name}_bytes", *sizes)
            if any(value.name == DEPTHS for value in model.graph.input):
                rows = between[1][0]
                most, usual = grid_rows(rows, CYCLES_PER_SAMPLE[1]), grid_rows(rows, TYPICAL)
                profile.set_shape(DEPTHS, (2 * GRID_MULTIPLE,), (usual,), (most,))
            config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BundleError(f"{path.name}: {module} built nothing of it")
    return Built(bytes(plan), str(trt.__version__), time.perf_counter() - begin)


def check_range(between: tuple[Shape, Shape] | None) -> None:
    """Check a range of frames, smallest and largest. Errors: `OptionError` for one that no plan is built for."""
    if between is None:
        return
    least, most = between
    if any(side % MULTIPLE for side in (*least, *most)) or not (least[0] <= most[0] and least[1] <= most[1]):
        raise OptionError(
            f"TensorRT: got frames from {least[0]}x{least[1]} to {most[0]}x{most[1]}, expected sides that are "
            f"multiples of {MULTIPLE}, the smallest first"
        )


def _take_out_padding(model: onnx.ModelProto) -> None:
    """-N mod 32 is 0 for frames whose sides are multiples of 32, and the only remainder in the graph."""
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int64), "no padding"))
    for node in model.graph.node:
        if node.op_type == "Mod":
            node.CopyFrom(helper.make_node("Identity", ["no padding"], list(node.output), node.name))


def _has_inputs(network: object) -> bool:
    count: int = network.num_inputs  # type: ignore[attr-defined]
    names = {network.get_input(k).name for k in range(count)}  # type: ignore[attr-defined]
    return names - {DEPTHS} == {f"{name}_bytes" for name in FRAMES}
