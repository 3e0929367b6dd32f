"""ONNX Runtime as an engine.

Knows the providers of ONNX Runtime. Invariant: the provider that was asked for really runs; a session that fell
back to another one is an error that names both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.bundle import Bundle
from usert.errors import EngineError, require
from usert.manifest import Graph

from .graph_engine import INPUTS, OUTPUTS, GraphEngine, Session, check_contract, first_line

onnxruntime = require("onnxruntime", "cpu")

CPU_PROVIDER = "CPUExecutionProvider"
_LOG_ERRORS_ONLY = 3


class OrtEngine(GraphEngine):
    """A bundle opened by ONNX Runtime, one session a graph file."""

    def __init__(self, bundle: Bundle, *, threads: int | None = None, provider: str = CPU_PROVIDER) -> None:
        super().__init__(bundle, threads=threads)
        available = onnxruntime.get_available_providers()
        if provider not in available:
            raise EngineError(f"onnxruntime: got provider {provider}, expected one of {', '.join(available)}")
        self._provider = provider

    @property
    def name(self) -> str:
        return f"onnxruntime {self._provider}"

    def _open(self, graph: Graph) -> Session:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _LOG_ERRORS_ONLY
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        providers = [self._provider] if self._provider == CPU_PROVIDER else [self._provider, CPU_PROVIDER]
        try:
            session = onnxruntime.InferenceSession(
                str(self._bundle.path_of(graph)), sess_options=options, providers=providers
            )
        except Exception as error:  # onnxruntime has no common base for what it raises
            raise EngineError(f"{self.name}: cannot open {graph.file}: {first_line(error)}") from error
        running = session.get_providers()
        if self._provider not in running:
            raise EngineError(f"onnxruntime: got provider {', '.join(running)}, expected {self._provider}")
        check_contract(self.name, graph, _types(session.get_inputs()), dict.fromkeys(INPUTS, "tensor(int16)"))
        check_contract(
            self.name, graph, _types(session.get_outputs()), dict.fromkeys(OUTPUTS, "tensor(float)")
        )

        def run(reference: NDArray[np.int16], current: NDArray[np.int16]) -> Sequence[NDArray[np.float32]]:
            found: Sequence[NDArray[np.float32]] = session.run(
                list(OUTPUTS), {"reference": reference, "current": current}
            )
            return found

        return run


def _types(nodes: Sequence[Any]) -> dict[str, str]:
    return {node.name: node.type for node in nodes}
