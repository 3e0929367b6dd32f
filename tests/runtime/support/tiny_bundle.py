"""A bundle of a few hundred bytes that ONNX Runtime really runs, made as export makes the real one.

Its weights are a safetensors file in half precision, to which the graphs refer as external data by offset.
What it answers is known: axial displacement `-SLOPE * row`, lateral displacement `current - reference`,
strain `STRAIN` and quality `QUALITY` everywhere.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from usert.bundle import Bundle, sha256_of, write_bundle
from usert.bundle.manifest import Graph, Input, Manifest, Network, Speed, TrainedFor, Weights

SLOPE, STRAIN, QUALITY = 0.015625, 0.03125, 0.75
"""Powers of two: exact in half precision."""
STRAIN_WINDOW = 17
"""Samples; frames must not be shorter."""
WEIGHTS = {"slope": SLOPE, "strain": STRAIN, "quality": QUALITY}


def tiny_graph(path: Path, weights: Path, shape: tuple[int, int] | None, *, strain: str = "strain") -> None:
    """The graph for `shape`; `strain` renames its second output."""
    dims = list(shape) if shape is not None else ["N", "M"]
    nodes = [
        helper.make_node(op, inputs, [output], **attributes)
        for op, inputs, output, attributes in (
            ("Cast", ["reference"], "r", {"to": TensorProto.FLOAT}),
            ("Cast", ["current"], "c", {"to": TensorProto.FLOAT}),
            ("Cast", ["half_slope"], "slope", {"to": TensorProto.FLOAT}),
            ("Cast", ["half_strain"], "level", {"to": TensorProto.FLOAT}),
            ("Cast", ["half_quality"], "trust", {"to": TensorProto.FLOAT}),
            ("Sub", ["c", "r"], "lateral", {}),
            ("Sub", ["r", "r"], "zeros", {}),
            ("Sub", ["zeros", "slope"], "steps", {}),
            ("CumSum", ["steps", "axis0"], "axial", {"exclusive": 1}),
            ("Unsqueeze", ["axial", "first"], "axial1", {}),
            ("Unsqueeze", ["lateral", "first"], "lateral1", {}),
            ("Concat", ["axial1", "lateral1"], "displacement", {"axis": 0}),
            ("Add", ["zeros", "level"], strain, {}),
            ("Add", ["zeros", "trust"], "quality", {}),
        )
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT16, dims) for name in ("reference", "current")],
        [
            helper.make_tensor_value_info("displacement", TensorProto.FLOAT, [2, *dims]),
            helper.make_tensor_value_info(strain, TensorProto.FLOAT, dims),
            helper.make_tensor_value_info("quality", TensorProto.FLOAT, dims),
        ],
        [
            helper.make_tensor("axis0", TensorProto.INT64, [], [0]),
            helper.make_tensor("first", TensorProto.INT64, [1], [0]),
            *(external(f"half_{name}", weights, name) for name in WEIGHTS),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def external(name: str, weights: Path, key: str) -> onnx.TensorProto:
    """An ONNX tensor `name` whose bytes are those of `key` in a safetensors file."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    begin, end = header[key]["data_offsets"]
    assert header[key]["dtype"] == "F16"
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=header[key]["shape"])
    tensor.data_location = TensorProto.EXTERNAL
    for field, value in (("location", weights.name), ("offset", 8 + length + begin), ("length", end - begin)):
        tensor.external_data.add(key=field, value=str(value))
    return tensor


def tiny_bundle(
    folder: Path,
    *,
    shapes: tuple[tuple[int, int] | None, ...] = (None,),
    strain: str = "strain",
) -> Bundle:
    """A bundle at `folder` with a graph for each of `shapes`."""
    scratch = folder.with_name(folder.name + "-scratch")
    scratch.mkdir(parents=True)
    weights = scratch / "weights.safetensors"
    save_file({name: np.full((1, 1), value, np.float16) for name, value in WEIGHTS.items()}, weights)
    graphs = []
    for shape in shapes:
        path = scratch / ("strain.onnx" if shape is None else f"strain_{shape[0]}x{shape[1]}.onnx")
        tiny_graph(path, weights, shape, strain=strain)
        graphs.append(
            Graph(
                file=path.name,
                shape=shape,
                precision="float32",
                sha256=sha256_of(path),
                bytes=path.stat().st_size,
                accuracy={"max_abs_displacement_samples": 0.0},
                speed=Speed(engine="none", machine="none", threads=1, shape=(1, 1), milliseconds=0.0),
            )
        )
    manifest = Manifest(
        usert_version="0.1.0",
        created="2026-11-22T12:00:00+00:00",
        network=Network(name="tiny", levels=(6, 2), normalise_features=True, parameters=3),
        weights=Weights(file=weights.name, sha256=sha256_of(weights), recipe="none"),
        input=Input(trained_for=TrainedFor(centre_cycles_per_sample=(0.1, 0.25), strain_percent=(0.03, 3.0))),
        strain_window_samples=STRAIN_WINDOW,
        quality_window=(65, 5),
        opset=17,
        graphs=tuple(graphs),
        reference="none",
        tolerances={"float32": {"max_abs_displacement_samples": 0.0}},
        libraries={},
        machine="none",
        gpu=None,
    )
    return write_bundle(folder, manifest, [scratch / name for name in manifest.files])


def other_bundle(folder: Path, **constants: float) -> Bundle:
    """The tiny bundle with other `constants` in its weights, of which there are slope, strain and quality."""
    made = tiny_bundle(folder.with_name(folder.name + "-made"))
    values = {name: np.full((1, 1), value, np.float16) for name, value in (WEIGHTS | constants).items()}
    weights = made.manifest.weights
    save_file(values, made.folder / weights.file)
    weights = replace(weights, sha256=sha256_of(made.folder / weights.file))
    manifest = replace(made.manifest, weights=weights)
    return write_bundle(folder, manifest, [made.folder / name for name in manifest.files])
