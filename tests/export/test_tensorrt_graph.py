"""What TensorRT is given computes the same to the bit, and TensorRT for RTX builds every graph that is shipped."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import tensorrt_rtx
import torch
from numpy.typing import NDArray
from torch.nn.functional import grid_sample

from usert.bundle import Bundle, default_bundle_path
from usert.bundle.manifest import Graph
from usert.errors import BundleError, OptionError
from usert.export.gate import tolerances
from usert.export.onnx_graph import DEPTHS, INPUTS
from usert.export.tensorrt_graph import as_bytes, as_opset_18, build, with_bytes
from usert.front_end import TYPICAL, graph_inputs
from usert.phantom.scanner import ScannerConfig, SimulatedScanner

DEFAULT = Bundle.load(default_bundle_path(), verify=False)
ONE_SHAPE = [graph for graph in DEFAULT.manifest.graphs if graph.shape is not None]
PARAMETERS = 4_000_000
"""At least, that a graph reads."""
WEIGHTS = DEFAULT.folder / DEFAULT.manifest.weights.file


def inputs_of(shape: tuple[int, int]) -> dict[str, NDArray[Any]]:
    """Of the default bundle's graphs, by name."""
    scanner = SimulatedScanner(ScannerConfig(shape=shape), seed=1)
    arrays = graph_inputs("baseband", scanner.frame(2).samples, scanner.frame(6).samples, TYPICAL)
    return dict(zip(INPUTS["baseband"], arrays, strict=True))


def in_bytes(inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {
        name if name == DEPTHS else f"{name}_bytes": part if name == DEPTHS else as_bytes(part)
        for name, part in inputs.items()
    }


def test_bytes_of_every_sample_come_back() -> None:
    frame = np.arange(-32768, 32768, dtype=np.int16).reshape(256, 256)
    low, high = as_bytes(frame)[..., 0].astype(int), as_bytes(frame)[..., 1].astype(int)
    word = low + 256 * high
    np.testing.assert_array_equal(np.where(word > 32767, word - 65536, word), frame)
    np.testing.assert_array_equal(as_bytes(frame.astype(">i2")), as_bytes(frame))


def test_a_graph_fed_with_bytes_says_the_same_to_the_bit(tmp_path: Path) -> None:
    graph = ONE_SHAPE[0]
    assert graph.shape is not None
    frames = inputs_of(graph.shape)
    shutil.copy(WEIGHTS, tmp_path)
    model = onnx.load(DEFAULT.path_of(graph), load_external_data=False)
    onnx.save_model(with_bytes(model), tmp_path / "bytes.onnx")
    expected = onnxruntime.InferenceSession(DEFAULT.path_of(graph)).run(None, frames)
    got = onnxruntime.InferenceSession(tmp_path / "bytes.onnx").run(None, in_bytes(frames))
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_array_equal(g, e)


def modes(model: onnx.ModelProto) -> set[bytes]:
    nodes = [node for node in model.graph.node if node.op_type == "GridSample"]
    assert nodes
    return {a.s for node in nodes for a in node.attribute if a.name == "mode"}


def in_opset_20(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy as torch exports it in that opset, as bundles were once."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.opset_import[0].version = 20
    for node in copy.graph.node:
        for attribute in node.attribute if node.op_type == "GridSample" else ():
            if attribute.name == "mode":
                attribute.s = b"linear"
    return copy


def test_a_graph_in_opset_18_is_valid_onnx_and_says_the_same(tmp_path: Path) -> None:
    """ONNX Runtime has other kernels for it, which round otherwise."""
    graph = ONE_SHAPE[0]
    assert graph.shape is not None
    frames = inputs_of(graph.shape)
    shutil.copy(WEIGHTS, tmp_path)
    shipped = onnx.load(DEFAULT.path_of(graph), load_external_data=False)
    old = in_opset_20(shipped)
    new = as_opset_18(old)
    assert (modes(old), modes(new)) == ({b"linear"}, {b"bilinear"})
    assert new == shipped
    paths = tmp_path / "old.onnx", tmp_path / "new.onnx"
    for model, path in zip((old, new), paths, strict=True):
        onnx.save_model(model, path)
        onnx.checker.check_model(path)
    ours = [onnxruntime.InferenceSession(path).run(None, frames) for path in paths]
    limits = tolerances("float32")
    for k, name in enumerate(("displacement_samples", "strain", "quality")):
        assert np.abs(ours[0][k] - ours[1][k]).max() < limits[f"max_abs_{name}"] / 10


def test_sampling_in_opset_18_is_the_same_to_the_bit_in_openvino(tmp_path: Path) -> None:
    text = """
        <ir_version: 8, opset_import: ["" : 20]>
        sample (float[1, 2, 40, 24] image, float[1, 40, 24, 2] grid) => (float[1, 2, 40, 24] found)
        { found = GridSample <mode = "linear", padding_mode = "zeros", align_corners = 1> (image, grid) }
    """
    old = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    image = rng.standard_normal((1, 2, 40, 24), np.float32)
    grid = rng.uniform(-1.2, 1.2, (1, 40, 24, 2)).astype(np.float32)
    found = []
    for model, path in ((old, tmp_path / "old.onnx"), (as_opset_18(old), tmp_path / "new.onnx")):
        onnx.save_model(model, path)
        found.append(openvino.Core().compile_model(path, "CPU")([image, grid])[0])
    np.testing.assert_array_equal(found[0], found[1])
    expected = grid_sample(torch.from_numpy(image), torch.from_numpy(grid), align_corners=True)
    np.testing.assert_allclose(found[0], expected, atol=1e-4)


@pytest.mark.parametrize("graph", DEFAULT.manifest.graphs, ids=lambda graph: graph.file)
def test_tensorrt_for_rtx_reads_every_shipped_graph(graph: Graph, tmp_path: Path) -> None:
    """Building takes minutes a graph: see the slow tests. Every sample is between pixels, never the nearest one."""
    shutil.copy(WEIGHTS, tmp_path)
    model = onnx.load(DEFAULT.path_of(graph), load_external_data=False)
    onnx.save_model(with_bytes(as_opset_18(model)), tmp_path / graph.file)
    logger = tensorrt_rtx.Logger(tensorrt_rtx.Logger.ERROR)
    builder = tensorrt_rtx.Builder(logger)
    flag = 1 << int(tensorrt_rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flag)
    parser = tensorrt_rtx.OnnxParser(network, logger)
    assert parser.parse_from_file(str(tmp_path / graph.file)), parser.get_error(0).desc()
    assert {network.get_input(k).name for k in range(network.num_inputs)} == {
        "reference_bytes", "current_bytes", DEPTHS,
    }  # fmt: skip
    sampling = []
    for layer in (network.get_layer(k) for k in range(network.num_layers)):
        if layer.type == tensorrt_rtx.LayerType.GRID_SAMPLE:
            layer.__class__ = tensorrt_rtx.IGridSampleLayer  # as TensorRT's own examples do
            sampling.append(layer.interpolation_mode)
    assert set(sampling) == {tensorrt_rtx.InterpolationMode.LINEAR}


@pytest.mark.slow
@pytest.mark.parametrize("graph", ONE_SHAPE, ids=lambda graph: graph.file)
def test_tensorrt_for_rtx_builds_every_shipped_graph_of_one_shape(graph: Graph) -> None:
    built = build(DEFAULT.path_of(graph), WEIGHTS)
    assert len(built.plan) > PARAMETERS * (1 if graph.precision == "int8" else 4)  # they are in it
    assert built.version == tensorrt_rtx.__version__


ANY = [graph for graph in DEFAULT.manifest.graphs if graph.shape is None]
ANY_SHAPE = ANY[0]


@pytest.mark.slow
@pytest.mark.parametrize("graph", ANY, ids=lambda graph: graph.file)
def test_the_graphs_of_any_shape_are_built_for_a_range(graph: Graph) -> None:
    built = build(DEFAULT.path_of(graph), WEIGHTS, between=((128, 32), (512, 128)))
    assert len(built.plan) > PARAMETERS * (1 if graph.precision == "int8" else 4)


def test_what_is_taken_out_for_a_range_pads_nothing_there(tmp_path: Path) -> None:
    """Sides that are multiples of 32: the same to the bit as the graph that pads."""
    frames = inputs_of((192, 64))
    shutil.copy(WEIGHTS, tmp_path)
    model = with_bytes(onnx.load(DEFAULT.path_of(ANY_SHAPE), load_external_data=False))
    assert not [node for node in model.graph.node if node.op_type == "Mod"]
    onnx.save_model(model, tmp_path / "bytes.onnx")
    expected = onnxruntime.InferenceSession(DEFAULT.path_of(ANY_SHAPE)).run(None, frames)
    got = onnxruntime.InferenceSession(tmp_path / "bytes.onnx").run(None, in_bytes(frames))
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_array_equal(g, e)


def test_ranges_that_make_no_sense_are_refused() -> None:
    with pytest.raises(OptionError, match=r"100x32 to 512x128, expected .*32"):
        build(DEFAULT.path_of(ANY_SHAPE), WEIGHTS, between=((100, 32), (512, 128)))
    with pytest.raises(OptionError, match=r"512x128 to 128x32"):
        build(DEFAULT.path_of(ANY_SHAPE), WEIGHTS, between=((512, 128), (128, 32)))
    with pytest.raises(OptionError, match=r"strain\.onnx: expected a range"):
        build(DEFAULT.path_of(ANY_SHAPE), WEIGHTS)


def test_what_the_parser_does_not_know_is_said(tmp_path: Path) -> None:
    path = tmp_path / "strange.onnx"
    model = onnx.load(DEFAULT.path_of(ONE_SHAPE[0]), load_external_data=False)
    model.graph.node[-1].op_type = "Unheard"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=r"^strange\.onnx: tensorrt_rtx .*: ") as caught:
        build(path, WEIGHTS)
    assert "\n" not in str(caught.value)


def test_another_module_is_refused() -> None:
    with pytest.raises(OptionError, match="got module 'numpy', expected tensorrt_rtx or tensorrt"):
        build(DEFAULT.path_of(ONE_SHAPE[0]), WEIGHTS, module="numpy")
