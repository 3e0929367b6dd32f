"""OpenVINO as an engine, for CPUs.

Runs in float32, whatever the CPU has: in bfloat16 the phase of the refinement is lost (`benchmarks/RESULTS.md`).
Knows nothing of GPUs. Invariant: arrays that come back are copies, the library's own are written again; and the
library sends nothing to its maker.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.bundle import Bundle
from usert.errors import EngineError, require
from usert.manifest import Graph

from .graph_engine import INPUTS, OUTPUTS, GraphEngine, Session, check_contract, first_line


def _import_silently() -> ModuleType:
    """`import openvino` reports itself over the network by `openvino_telemetry`, and does without when it is absent."""
    absent = "openvino_telemetry" not in sys.modules
    if absent:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        return require("openvino", "openvino")
    finally:
        if absent:
            del sys.modules["openvino_telemetry"]


openvino = _import_silently()

DEVICE, PRECISION = "CPU", "f32"


class OpenVinoEngine(GraphEngine):
    """A bundle opened by OpenVINO, one compiled model a graph file."""

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        super().__init__(bundle, threads=threads)
        self._core: Any = openvino.Core()
        self._precision = PRECISION
        if DEVICE not in self._core.available_devices:
            raise EngineError(
                f"openvino: got devices {', '.join(self._core.available_devices) or 'none'}, expected {DEVICE}"
            )

    @property
    def name(self) -> str:
        return f"openvino {DEVICE}"

    def _open(self, graph: Graph) -> Session:
        settings = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self._threads,
        }
        try:
            compiled = self._core.compile_model(str(self._bundle.path_of(graph)), DEVICE, settings)
        except Exception as error:  # as openvino has it
            raise EngineError(f"{self.name}: cannot open {graph.file}: {first_line(error)}") from error
        check_contract(self.name, graph, _types(compiled.inputs), dict.fromkeys(INPUTS, "i16"))
        check_contract(self.name, graph, _types(compiled.outputs), dict.fromkeys(OUTPUTS, "f32"))
        request = compiled.create_infer_request()

        def run(reference: NDArray[np.int16], current: NDArray[np.int16]) -> Sequence[NDArray[np.float32]]:
            request.infer({"reference": reference, "current": current})
            return [np.array(request.get_tensor(name).data) for name in OUTPUTS]

        return run

    def close(self) -> None:
        super().close()
        self._core = None


def _types(ports: Sequence[Any]) -> dict[str, str]:
    return {port.any_name: port.element_type.get_type_name() for port in ports}
