"""OpenVINO as an engine, for CPUs.

Runs in float32, whatever the CPU has: in bfloat16 the phase of the refinement is lost (`benchmarks/RESULTS.md`).
Compiled graphs are cached, with which a start takes a quarter to a half of the time; without a cache the engine opens
all the same, and warns. Invariant: returned arrays are copies, since the library reuses its own; and the library's
telemetry is off.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.bundle import Bundle
from usert.bundle.manifest import Graph
from usert.errors import EngineError
from usert.machine import cpu_name
from usert.silent import import_openvino

from .bundle_engine import DEPTHS, OUTPUTS, GraphEngine, Inputs, Session, check_contract, first_line
from .cache import cache_folder, intact

openvino = import_openvino()

DEVICE, PRECISION = "CPU", "f32"
MOST_SHAPES = 4
"""Shapes for which a graph of any shape stays compiled, some 100 MB each."""
Shapes = tuple[tuple[int, ...], ...]
"""Shapes of a graph's inputs, in order."""
_OPENING = threading.Lock()
"""Held while a graph is opened: OpenVINO (2026.4) sets the locale to C while it reads a graph, and two at once leave it
there, after which only ASCII can be read; and a graph has one cache folder."""
_log = logging.getLogger(__name__)


class OpenVinoEngine(GraphEngine):
    """A bundle opened by OpenVINO, with one compiled model a graph file."""

    preferred = ("int8", "float32")

    def __init__(self, bundle: Bundle, *, threads: int | None = None, precision: str | None = None) -> None:
        super().__init__(bundle, threads=threads, precision=precision)
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
        """The graph for any shape is compiled for the shape of each frame that comes: .8 of its time otherwise."""
        if graph.shape is not None:
            return self._opened(graph)
        sessions: dict[Shapes, Session] = {}

        def run(inputs: Inputs) -> Sequence[NDArray[np.float32]]:
            shapes = tuple(part.shape for part in inputs)
            if shapes not in sessions:
                if len(sessions) == MOST_SHAPES:
                    del sessions[next(iter(sessions))]
                sessions[shapes] = self._opened(graph, shapes)
            return sessions[shapes](inputs)

        return run

    def _opened(self, graph: Graph, shapes: Shapes = ()) -> Session:
        try:
            with _OPENING:
                compiled = self._compile(graph, shapes)
        except Exception as error:  # as openvino has it
            raise EngineError(f"{self.name}: cannot open {graph.file}: {first_line(error)}") from error
        expected = {name: "f32" if name == DEPTHS else "i16" for name in self._inputs}
        check_contract(self.name, graph, _types(compiled.inputs, expected), expected)
        check_contract(self.name, graph, _types(compiled.outputs, OUTPUTS), dict.fromkeys(OUTPUTS, "f32"))
        request = compiled.create_infer_request()

        def run(inputs: Inputs) -> Sequence[NDArray[np.float32]]:
            request.infer(dict(zip(self._inputs, inputs, strict=True)))
            return [np.array(request.get_tensor(name).data) for name in OUTPUTS]

        return run

    def _compile(self, graph: Graph, shapes: Shapes = ()) -> Any:
        """The model compiled for inputs of `shapes`, by default the graph's own, from the cache if possible."""
        path = str(self._bundle.path_of(graph))
        settings = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self._threads,
        }
        try:
            kept = cache_folder(
                self._bundle, graph, device=cpu_name(), library=f"openvino {openvino.__version__}"
            )
            with intact(kept):
                if not shapes:
                    return self._core.compile_model(path, DEVICE, {**settings, "CACHE_DIR": str(kept)})
                blob = kept / ("_".join("x".join(map(str, shape)) for shape in shapes) + ".blob")
                if blob.exists():  # half as long as what CACHE_DIR does for a model that was given a shape
                    return self._core.import_model(blob.read_bytes(), DEVICE, settings)
                compiled = self._core.compile_model(self._shaped(path, shapes), DEVICE, settings)
                blob.write_bytes(compiled.export_model().getvalue())
                return compiled
        except Exception as error:  # of the cache, or of the graph: then it comes again
            compiled = self._core.compile_model(self._shaped(path, shapes), DEVICE, settings)
            _log.warning("%s: %s is compiled at every start: %s", self.name, graph.file, first_line(error))
            return compiled

    def _shaped(self, path: str, shapes: Shapes) -> Any:
        model = self._core.read_model(path)
        if shapes:
            model.reshape(dict(zip(self._inputs, shapes, strict=True)))
        return model

    def close(self) -> None:
        super().close()
        self._core = None


def _types(ports: Sequence[Any], names: Collection[str]) -> dict[str, str]:
    """Type of each port by its name of `names`, or by all of its names where that is missing."""
    return {
        next((name for name in names if name in port.names), "/".join(sorted(port.names))): (
            port.element_type.get_type_name()
        )
        for port in ports
    }
