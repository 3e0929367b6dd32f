"""A small bundle's manifest and files, for tests that open no graph."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from usert.bundle.manifest import Graph, Input, Manifest, Network, Plan, Speed, TrainedFor, Weights

CONTENT = {
    "weights.safetensors": b"w" * 64,
    "strain.onnx": b"any",
    "strain_8x4.onnx": b"8x4",
    "strain_8x4_int8.onnx": b"int8",
    "strain_8x4.tensorrt.plan": b"plan",
}
DIGEST = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()}
SPEED = Speed(
    engine="onnxruntime 1.32.0 on the CPU", machine="a CPU", threads=2, shape=(8, 4), milliseconds=97.4
)


def graph(file: str, shape: tuple[int, int] | None, precision: str = "float32") -> Graph:
    return Graph(
        file=file,
        shape=shape,
        precision=precision,
        sha256=DIGEST[file],
        bytes=len(CONTENT[file]),
        accuracy={"max_abs_displacement_samples": 2.5e-4, "rms_displacement_samples": 1e-5},
        speed=SPEED,
    )


PLAN = Plan(
    file="strain_8x4.tensorrt.plan",
    graph="strain_8x4.onnx",
    library="tensorrt",
    version="10.13.0",
    gpu="NVIDIA H200 (sm_90)",
    least=(8, 4),
    most=(8, 4),
    sha256=DIGEST["strain_8x4.tensorrt.plan"],
    bytes=4,
    seconds=31.5,
    accuracy=None,
    speed=None,
)


def manifest(**changes: Any) -> Manifest:
    whole = Manifest(
        usert_version="0.1.0",
        created="2026-11-22T12:00:00+00:00",
        network=Network(name="liteflownet", levels=(6, 2), normalise_features=True, parameters=5_379_857),
        weights=Weights(
            file="weights.safetensors", sha256=DIGEST["weights.safetensors"], recipe="pretrain, seed 1"
        ),
        input=Input(trained_for=TrainedFor(centre_cycles_per_sample=(0.11, 0.25), strain_percent=(0.03, 3))),
        strain_window_samples=65,
        quality_window=(65, 5),
        opset=20,
        graphs=(
            graph("strain.onnx", None),
            graph("strain_8x4.onnx", (8, 4)),
            graph("strain_8x4_int8.onnx", (8, 4), "int8"),
        ),
        plans=(PLAN,),
        reference="torch 2.13.0, float32",
        tolerances={"float32": {"max_abs_displacement_samples": 1e-3}, "int8": {}},
        libraries={"torch": "2.13.0"},
        machine="a CPU",
        gpu=None,
    )
    return replace(whole, **changes)
