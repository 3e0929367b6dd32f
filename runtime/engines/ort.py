"""ONNX Runtime as an engine.

Knows the graph's contract: inputs `reference` and `current` int16 (N, M); outputs `displacement` (2, N, M),
`strain` (N, M) and `quality` (N, M), float32. Invariant: the provider that was asked for really runs; a
session that fell back to another one is an error that names both.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.bundle import Bundle
from usert.errors import EngineError, FrameError, require
from usert.manifest import Graph

from ..engine import Estimate
from ..samples import to_int16

onnxruntime = require("onnxruntime", "cpu")

CPU_PROVIDER = "CPUExecutionProvider"
INPUTS = {"reference": "tensor(int16)", "current": "tensor(int16)"}
OUTPUTS = {"displacement": "tensor(float)", "strain": "tensor(float)", "quality": "tensor(float)"}
_LOG_ERRORS_ONLY = 3


class OrtEngine:
    """A bundle opened by ONNX Runtime, one session a graph file, each opened when first needed."""

    def __init__(self, bundle: Bundle, *, threads: int | None = None, provider: str = CPU_PROVIDER) -> None:
        """`threads` None: one for each core that this process may use."""
        if threads is not None and threads < 1:
            raise EngineError(f"threads: got {threads}, expected 1 or more")
        available = onnxruntime.get_available_providers()
        if provider not in available:
            raise EngineError(f"onnxruntime: got provider {provider}, expected one of {', '.join(available)}")
        self._bundle = bundle
        self._threads = threads or usable_cores()
        self._provider = provider
        self._sessions: dict[str, Any] = {}
        self._closed = False

    @property
    def name(self) -> str:
        return f"onnxruntime {self._provider}"

    @property
    def strain_window_samples(self) -> int:
        return self._bundle.manifest.strain_window_samples

    def warm_up(self, shape: tuple[int, int]) -> None:
        noise = np.random.default_rng(0).integers(-1000, 1000, (2, *shape), dtype=np.int16)
        self.run(noise[0], noise[1])

    def run(self, reference: NDArray[Any], current: NDArray[Any]) -> Estimate:
        if self._closed:
            raise EngineError(f"{self.name}: is closed")
        first, second = to_int16(reference, current)
        shape = first.shape[0], first.shape[1]
        least = self.strain_window_samples
        if shape[0] < least:
            raise FrameError(
                f"frame: got {shape[0]} samples along depth, expected at least {least}: the strain window"
            )
        graph = self._bundle.graph_for(shape)
        session = self._session(graph)
        feed = {"reference": np.ascontiguousarray(first), "current": np.ascontiguousarray(second)}
        try:
            displacement, strain, quality = session.run(list(OUTPUTS), feed)
        except Exception as error:  # onnxruntime has no common base for what it raises
            raise EngineError(f"{self.name}: {graph.file} at {shape}: {_first_line(error)}") from error
        for output, got, expected in (
            ("displacement", displacement.shape, (2, *shape)),
            ("strain", strain.shape, shape),
            ("quality", quality.shape, shape),
        ):
            if got != expected:
                raise EngineError(
                    f"{self.name}: {graph.file}: {output}: got shape {got}, expected {expected}"
                )
        return Estimate(displacement=displacement, strain=strain, quality=quality)

    def close(self) -> None:
        self._sessions.clear()
        self._closed = True

    def _session(self, graph: Graph) -> Any:
        if graph.file not in self._sessions:
            self._sessions[graph.file] = self._open(graph)
        return self._sessions[graph.file]

    def _open(self, graph: Graph) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _LOG_ERRORS_ONLY
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        providers = [self._provider] if self._provider == CPU_PROVIDER else [self._provider, CPU_PROVIDER]
        try:
            session = onnxruntime.InferenceSession(
                str(self._bundle.path_of(graph)), sess_options=options, providers=providers
            )
        except Exception as error:  # as above
            raise EngineError(f"{self.name}: cannot open {graph.file}: {_first_line(error)}") from error
        running = session.get_providers()
        if self._provider not in running:
            raise EngineError(f"onnxruntime: got provider {', '.join(running)}, expected {self._provider}")
        for expected, nodes in ((INPUTS, session.get_inputs()), (OUTPUTS, session.get_outputs())):
            got = {node.name: node.type for node in nodes}
            if got != expected:
                raise EngineError(f"{self.name}: {graph.file}: got {_list(got)}, expected {_list(expected)}")
        return session


def usable_cores() -> int:
    """Cores that this process may use; onnxruntime left alone pins threads to all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _list(nodes: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in nodes.items())


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
