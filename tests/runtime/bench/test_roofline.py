"""Multiplications and bytes of graphs that were counted by hand, and of the bundle's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from usert.bundle import Bundle, default_bundle_path
from usert.errors import EngineError
from usert.runtime.bench.rates import better, cpu_rates
from usert.runtime.bench.roofline import Cost, Rates, graph_cost


def graph(
    path: Path,
    node: Any,
    shape: tuple[int | str, ...],
    weights: tuple[int, ...],
    before: tuple[Any, ...] = (),
    dtype: int = TensorProto.FLOAT,
) -> Path:
    """`x` of `shape` and constant `w` to `y`."""
    made = helper.make_graph(
        [*before, node],
        "counted",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, None)],
        [helper.make_tensor("w", dtype, weights, [0.0] * _product(weights))],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def _product(sizes: tuple[int, ...]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


def test_a_convolution_gathers_a_kernel_for_each_output(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    cost = graph_cost(graph(tmp_path / "g.onnx", node, (1, 4, 10, 6), (8, 4, 3, 3)), (10, 6))
    assert cost.flops == 2 * (8 * 5 * 3) * (4 * 3 * 3)
    assert cost.bytes == 4 * (4 * 10 * 6 + 8 * 4 * 9 + 8 * 5 * 3)
    assert cost.layers == 1


def test_groups_gather_only_their_own_channels(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=4)
    cost = graph_cost(graph(tmp_path / "g.onnx", node, (1, 4, 10, 6), (8, 1, 3, 3)), (10, 6))
    assert cost.flops == 2 * (8 * 10 * 6) * 9


def test_a_transposed_convolution_spreads_each_input_over_a_kernel(tmp_path: Path) -> None:
    node = helper.make_node(
        "ConvTranspose", ["x", "w"], ["y"], kernel_shape=[4, 4], strides=[2, 2], pads=[1, 1, 1, 1], group=2
    )
    cost = graph_cost(graph(tmp_path / "g.onnx", node, (1, 2, 10, 6), (2, 1, 4, 4)), (10, 6))
    assert cost.flops == 2 * (2 * 10 * 6) * 16


def test_a_product_of_matrices_has_its_inner_side(tmp_path: Path) -> None:
    plain = helper.make_node("MatMul", ["x", "w"], ["y"])
    assert (
        graph_cost(graph(tmp_path / "m.onnx", plain, (5, 7, 3), (3, 4)), (7, 3)).flops == 2 * (5 * 7 * 4) * 3
    )
    turned = helper.make_node("Gemm", ["x", "w"], ["y"], transA=1)
    assert graph_cost(graph(tmp_path / "t.onnx", turned, (3, 7), (3, 4)), (3, 7)).flops == 2 * (7 * 4) * 3


def test_half_precision_moves_half_the_bytes(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    whole = graph_cost(graph(tmp_path / "w.onnx", node, (7, 3), (3, 4)), (7, 3))
    half = graph_cost(graph(tmp_path / "h.onnx", node, (7, 3), (3, 4), dtype=TensorProto.FLOAT16), (7, 3))
    assert (half.flops, 2 * half.bytes) == (whole.flops, whole.bytes)


def test_what_has_no_shape_is_not_counted_by_half(tmp_path: Path) -> None:
    unknown = helper.make_node("Reshape", ["x", "s"], ["r"])
    shape = (
        helper.make_node("NonZero", ["x"], ["s2"]),
        helper.make_node("ReduceMax", ["s2"], ["s"], axes=[1], keepdims=0),
    )
    node = helper.make_node("MatMul", ["r", "w"], ["y"])
    path = graph(tmp_path / "g.onnx", node, (2, 3), (3, 4), before=(*shape, unknown))
    with pytest.raises(EngineError, match=r"^g\.onnx: .*MatMul.* shape"):
        graph_cost(path, (2, 3))


def test_what_is_no_graph_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "g.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(EngineError, match=r"^g\.onnx: .*counted"):
        graph_cost(path, (2, 3))


def test_the_graph_for_any_shape_costs_what_the_one_for_a_shape_costs() -> None:
    bundle = Bundle.load(default_bundle_path(), verify=False)
    by_shape = {
        graph.shape: bundle.path_of(graph) for graph in bundle.manifest.graphs if graph.precision == "float32"
    }
    static, dynamic = (graph_cost(by_shape[shape], (512, 128)) for shape in ((512, 128), None))
    # but for the few means over windows that are pooled where the shape is known
    assert 0.99 < dynamic.flops / static.flops < 1.03
    assert abs(dynamic.layers - static.layers) <= 8
    larger = graph_cost(by_shape[1024, 256], (1024, 256))
    assert 3.9 < larger.flops / static.flops < 4.5  # resampling along depth grows with the square of it


@pytest.mark.parametrize("shape", [(512, 128), (1024, 256), None])
def test_steps_in_a_loop_cost_what_they_cost_one_by_one(shape: tuple[int, int] | None) -> None:
    """The graphs in int8 hold the refinement as loops, those in float32 do not; int8 changes no operation."""
    bundle = Bundle.load(default_bundle_path(), verify=False)
    looped, plain = (
        graph_cost(bundle.path_of(graph), shape or (512, 128))
        for precision in ("int8", "float32")
        for graph in bundle.manifest.graphs
        if (graph.shape, graph.precision) == (shape, precision)
    )
    assert looped.flops == plain.flops
    assert looped.layers == plain.layers


def test_the_graph_that_follows_costs_much_less_at_any_shape() -> None:
    bundle = Bundle.load(default_bundle_path(), verify=False)
    follows, whole = (
        {
            graph.shape: graph_cost(bundle.path_of(graph), (512, 128))
            for graph in graphs
            if graph.precision == "float32"
        }
        for graphs in (bundle.manifest.follow, bundle.manifest.graphs)
    )
    for shape in ((512, 128), None):
        assert 0 < follows[shape].flops < 0.2 * whole[shape].flops


def test_the_floor_is_the_longer_of_the_two() -> None:
    cost = Cost(flops=4e9, bytes=1e9, layers=1)
    slow_memory, slow_cores = Rates(flops=1e12, bytes=1e10), Rates(flops=1e10, bytes=1e12)
    assert (cost.floor_ms(slow_memory), cost.bound(slow_memory)) == (100.0, "bytes")
    assert (cost.floor_ms(slow_cores), cost.bound(slow_cores)) == (400.0, "FLOPs")


def test_rates_are_numbers_and_the_better_of_two_has_both() -> None:
    rates = cpu_rates(1)
    assert rates.flops > 1e6
    assert rates.bytes > 1e6
    assert better(Rates(flops=1, bytes=5), Rates(flops=2, bytes=3)) == Rates(flops=2, bytes=5)
