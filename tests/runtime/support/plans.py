"""Plans as a manifest lists them, and the bundle they are of, for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tiny_bundle import tiny_bundle

from usert.bundle import Bundle
from usert.bundle.manifest import Plan
from usert.frame import Shape

H200, A100 = "NVIDIA H200 (sm_90)", "NVIDIA A100 (sm_80)"


def plan(
    file: str = "a.plan",
    *,
    library: str = "tensorrt",
    version: str = "10.13.0",
    gpu: str | None = H200,
    graph: str = "strain_512x128.onnx",
    least: Shape = (512, 128),
    most: Shape | None = None,
) -> Plan:
    return Plan(
        file=file,
        graph=graph,
        library=library,
        version=version,
        gpu=gpu,
        least=least,
        most=most or least,
        sha256="0" * 64,
        bytes=1,
        seconds=1.0,
        accuracy=None,
        speed=None,
    )


def planned_bundle(folder: Path) -> Bundle:
    """Two graphs, in float32 and, as its manifest says, in float16."""
    made = tiny_bundle(folder, shapes=((512, 128), (256, 64)))
    first, second = made.manifest.graphs
    graphs = (first, replace(second, precision="float16"))
    tolerances = dict.fromkeys(("float32", "float16"), made.manifest.tolerances["float32"])
    return replace(made, manifest=replace(made.manifest, graphs=graphs, tolerances=tolerances))
