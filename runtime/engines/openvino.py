"""OpenVINO as an engine, for CPUs.

Runs in float32, whatever the CPU has: in bfloat16 the phase of the refinement is lost (`benchmarks/RESULTS.md`).
Frames that no graph of one shape takes run by the one for any shape, or 1.5 to 2 times as fast by the same one compiled
for theirs: `warm_up` does so at once, `warm_up_gradually` in a thread beside (`specialised.py`).
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
from usert.frame import Scan, Shape
from usert.machine import cpu_name
from usert.silent import import_openvino

from .bundle_engine import DEPTHS, FRAMES, OUTPUTS, GraphEngine, Inputs, Session, check_contract, first_line
from .cache import cache_folder, intact
from .concurrency import in_turns
from .specialised import Sizes, SpecialisedGraphs

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
        self._specialised: SpecialisedGraphs[Session] = SpecialisedGraphs(self._open)
        if DEVICE not in self._core.available_devices:
            raise EngineError(
                f"openvino: got devices {', '.join(self._core.available_devices) or 'none'}, expected {DEVICE}"
            )

    @property
    def name(self) -> str:
        return f"openvino {DEVICE}"

    def warm_up(self, shape: Shape, scan: Scan | None = None) -> None:
        with self._specialised.wanted(beside=False):
            super().warm_up(shape, scan)

    def warm_up_gradually(self, shape: Shape, scan: Scan | None = None) -> None:
        """Load what frames of `shape` (N, M) need, and run once; where these go on, what runs them faster is loaded in
        a thread."""
        with self._specialised.wanted(beside=True):
            super().warm_up(shape, scan)

    def _session(self, graph: Graph, shape: Shape, inputs: Inputs) -> Session:
        if graph.shape is None and inputs:
            depths = inputs[2].shape[0] if self._front_end == "baseband" else None
            sizes = Sizes((inputs[0].shape[0], inputs[0].shape[1]), depths)
            if (found := self._specialised.session(graph, self.at_once(shape), sizes)) is not None:
                return found
        return super()._session(graph, shape, inputs)

    def _open(self, graph: Graph, at_once: int, sizes: Sizes | None = None) -> Session:
        try:
            with _OPENING:
                compiled = self._compile(graph, at_once, sizes)
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

    def _compile(self, graph: Graph, at_once: int, sizes: Sizes | None = None) -> Any:
        """The compiled model, from the cache if possible; with `sizes` for these alone."""
        core, model = self._core, str(self._bundle.path_of(graph))
        if sizes is not None:
            model = core.read_model(model)
            depths = {} if sizes.grid_rows is None else {DEPTHS: [sizes.grid_rows]}
            model.reshape({name: list(sizes.shape) for name in FRAMES} | depths)
        settings = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": at_once,
            "ENABLE_CPU_PINNING": False,  # else one thread of each of two processes shares a core with the other
        }
        try:
            kept = cache_folder(
                self._bundle,
                graph,
                device=cpu_name(),
                library=f"openvino {openvino.__version__}",
                sizes="" if sizes is None else f"{sizes}-{sizes.grid_rows or 0}",
            )
            with intact(kept):
                return core.compile_model(model, DEVICE, {**settings, "CACHE_DIR": str(kept)})
        except Exception as error:  # of the cache, or of the graph: then it comes again
            compiled = core.compile_model(model, DEVICE, settings)
            _log.warning("%s: %s is compiled without the cache: %s", self.name, graph.file, first_line(error))
            return compiled

    def close(self) -> None:
        super().close()
        self._specialised.close()
        self._core = None


def _types(ports: Sequence[Any]) -> dict[str, str]:
    return {port.any_name: port.element_type.get_type_name() for port in ports}
