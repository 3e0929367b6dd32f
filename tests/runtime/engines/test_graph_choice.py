"""Which graph runs a frame, by brute force over what there is."""

from __future__ import annotations

import pytest

from usert.bundle.manifest import Graph, Speed
from usert.errors import BundleError
from usert.runtime.engines.graph_choice import by_preference, choose_graph


def graph(
    shape: tuple[int, int] | None, precision: str = "float32", proven: tuple[int, int] = (330, 90)
) -> Graph:
    """`proven`: what it was tried on, if it takes any shape."""
    name = f"{shape}{precision}".translate(str.maketrans("(, )", "____"))
    return Graph(
        file=f"g{name}.onnx",
        shape=shape,
        precision=precision,
        sha256="0" * 64,
        bytes=1,
        accuracy={},
        speed=Speed(engine="e", machine="m", threads=1, shape=shape or proven, milliseconds=1.0),
    )


ANY, SMALL, LARGE, SMALL_INT8 = (
    graph(None),
    graph((512, 128)),
    graph((1024, 256)),
    graph((512, 128), "int8"),
)
ALL = (ANY, LARGE, SMALL, SMALL_INT8)


@pytest.mark.parametrize(
    ("graphs", "shape", "precisions", "expected", "whole"),
    [
        (ALL, (512, 128), ("float32", "int8"), SMALL, (512, 128)),
        (ALL, (512, 128), ("int8", "float32"), SMALL_INT8, (512, 128)),
        (ALL, (1024, 256), ("int8", "float32"), LARGE, (1024, 256)),
        (ALL, (500, 128), ("int8", "float32"), SMALL_INT8, (512, 128)),
        (ALL, (481, 97), ("float32",), SMALL, (512, 128)),
        (ALL, (480, 128), ("int8", "float32"), ANY, (480, 128)),
        (ALL, (4000, 800), ("float32",), ANY, (4000, 800)),
        ((SMALL, LARGE), (1000, 230), ("float32",), LARGE, (1024, 256)),
    ],
)
def test_its_own_shape_then_the_next_multiples_of_32_then_any(
    graphs: tuple[Graph, ...],
    shape: tuple[int, int],
    precisions: tuple[str, ...],
    expected: Graph,
    whole: tuple[int, int],
) -> None:
    assert choose_graph(graphs, shape, precisions) == (expected, whole)


def test_int8_is_not_taken_for_frames_longer_than_any_that_it_was_proven_on() -> None:
    any_int8, both = graph(None, "int8"), ("int8", "float32")
    graphs = (*ALL, any_int8)
    assert choose_graph(graphs, (512, 200), both) == (any_int8, (512, 200))  # as long as SMALL_INT8
    assert choose_graph(graphs, (513, 200), both) == (ANY, (513, 200))
    assert choose_graph(graphs, (4000, 200), ("int8",)) == (any_int8, (4000, 200))  # asked for by name
    assert (
        choose_graph((any_int8, graph(None, "float16")), (4000, 200), ("int8", "float16"))[0].precision
        == "float16"
    )
    assert choose_graph((any_int8,), (4000, 200), both) == (any_int8, (4000, 200))  # there is nothing else


def test_int8_is_taken_for_frames_of_any_length_where_the_network_has_a_grid_of_its_own() -> None:
    any_int8, both = graph(None, "int8"), ("int8", "float32")
    assert choose_graph((*ALL, any_int8), (4000, 200), both, grid_rows=1952) == (any_int8, (4000, 200))


def test_what_the_bundle_cannot_take_is_said() -> None:
    with pytest.raises(
        BundleError,
        match=r"^frame: got 480x128, expected 512x128, 1024x256, .* 31 .*--shape 480x128",
    ):
        choose_graph((SMALL, LARGE), (480, 128), ("float32",))
    with pytest.raises(BundleError, match=r"^precision: got .*float32, expected int8"):
        choose_graph((SMALL, LARGE), (512, 128), ("int8",))


def test_the_precision_asked_for_stands_alone() -> None:
    assert by_preference("int8", ("float32",)) == ("int8",)
    assert by_preference(None, ("int8", "float32")) == ("int8", "float32", "float16")
    with pytest.raises(BundleError, match="precision: got 'int4', expected float32, float16, int8"):
        by_preference("int4", ())
