"""OpenVINO as an engine, for CPUs.

Runs in float32, whatever the CPU has: in bfloat16 the phase of the refinement is lost (`benchmarks/RESULTS.md`).
Compiled graphs are cached, with which a start takes a quarter to a half of the time; without a cache the engine opens
all the same, and warns. Invariant: returned arrays are copies, since the library reuses its own; and the library's
telemetry is off.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.bundle import Bundle
from usert.bundle.manifest import Graph
from usert.errors import EngineError
from usert.machine import cpu_name
from usert.silent import import_openvino

from .bundle_engine import FRAMES, OUTPUTS, GraphEngine, Inputs, Session, check_contract, first_line
from .cache import cache_folder, intact
from .concurrency import in_turns

openvino = import_openvino()

DEVICE, PRECISION = "CPU", "f32"
_OPENING = threading.Lock()
"""Held while a graph is opened: OpenVINO (2026.4) sets the locale to C while it reads a graph, and two at once leave it
there, after which only ASCII can be read; and a graph has one cache folder."""
_log = logging.getLogger(__name__)


def _find_numpy() -> None:
    """Let the library's binding find numpy, in one thread: two that first do so at once wait for each other for ever.

    OpenVINO 2026.4, in `Tensor.data`: one gives the interpreter away while it makes a static that the other waits for.
    """
    _ = openvino.Tensor(np.zeros(1, np.float32)).data


class OpenVinoEngine(GraphEngine):
    """A bundle opened by OpenVINO, with one compiled model a graph file."""

    preferred = ("int8", "float32")

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        precision: str | None = None,
        at_once: int | None = 1,
    ) -> None:
        super().__init__(bundle, threads=threads, precision=precision, at_once=at_once)
        self._core: Any = openvino.Core()
        self._precision = PRECISION
        if DEVICE not in self._core.available_devices:
            raise EngineError(
                f"openvino: got devices {', '.join(self._core.available_devices) or 'none'}, expected {DEVICE}"
            )

    @property
    def name(self) -> str:
        return f"openvino {DEVICE}"

    def _open(self, graph: Graph, at_once: int) -> Session:
        try:
            with _OPENING:
                compiled = self._compile(graph, at_once)
                _find_numpy()
        except Exception as error:  # as openvino has it
            raise EngineError(f"{self.name}: cannot open {graph.file}: {first_line(error)}") from error
        names = self._inputs(graph)
        expected = {name: "i16" if name in FRAMES else "f32" for name in names}
        check_contract(self.name, graph, _types(compiled.inputs), expected)
        check_contract(self.name, graph, _types(compiled.outputs), dict.fromkeys(OUTPUTS, "f32"))

        def session() -> Session:
            request = compiled.create_infer_request()

            def run(inputs: Inputs) -> Sequence[NDArray[np.float32]]:
                request.infer(dict(zip(names, inputs, strict=True)))
                return [np.array(request.get_tensor(name).data) for name in OUTPUTS]

            return run

        return in_turns([session() for _ in range(at_once)])

    def _compile(self, graph: Graph, at_once: int) -> Any:
        """The compiled model, from the cache if possible."""
        path = str(self._bundle.path_of(graph))
        settings = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": at_once,
            "ENABLE_CPU_PINNING": False,  # else one thread of each of two processes shares a core with the other
        }
        try:
            kept = cache_folder(
                self._bundle, graph, device=cpu_name(), library=f"openvino {openvino.__version__}"
            )
            with intact(kept):
                return self._core.compile_model(path, DEVICE, {**settings, "CACHE_DIR": str(kept)})
        except Exception as error:  # of the cache, or of the graph: then it comes again
            compiled = self._core.compile_model(path, DEVICE, settings)
            _log.warning("%s: %s is compiled without the cache: %s", self.name, graph.file, first_line(error))
            return compiled

    def close(self) -> None:
        super().close()
        self._core = None


def _types(ports: Sequence[Any]) -> dict[str, str]:
    return {port.any_name: port.element_type.get_type_name() for port in ports}
