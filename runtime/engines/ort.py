"""ONNX Runtime as an engine.

Invariant: the chosen provider really runs; a session that fell back to another is an error that names both; and the
library's telemetry is off.

The tensors of a session have fixed addresses on the provider's device, as a CUDA graph needs. Frames reach a GPU
through page-locked memory; ONNX Runtime copies outputs into new arrays, which are not page-locked.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.bundle import Bundle
from usert.bundle.manifest import Graph
from usert.errors import EngineError
from usert.front_end import START_SHAPE, TYPICAL, graph_inputs
from usert.machine import gpu_name
from usert.silent import import_onnxruntime

from .bundle_engine import FRAMES, OUTPUTS, START, GraphEngine, Inputs, Session, check_contract, first_line
from .cache import cache_folder
from .concurrency import in_turns
from .graph_choice import by_preference
from .ort_providers import CPU, CUDA, TENSORRT, Providers, attempts

onnxruntime = import_onnxruntime()

GPU_PRECISIONS = ("float16", "float32")
OPSET_OF_TENSORRT = 19
"""The last opset whose GridSample the parser of TensorRT 10 reads rightly; see `OPSET` of `usert.export.onnx_graph`."""
_LOG_ERRORS, _LOG_FATAL = 3, 4
_log = logging.getLogger(__name__)


class OrtEngine(GraphEngine):
    """A bundle opened by ONNX Runtime, with one session a graph file."""

    preferred = ("int8", "float32")

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        precision: str | None = None,
        at_once: int | None = 1,
        provider: str = CPU,
    ) -> None:
        """`provider`: one that ONNX Runtime names; `at_once` counts on the CPU only."""
        super().__init__(
            bundle, threads=threads, precision=precision, at_once=at_once if provider == CPU else 1
        )
        if provider != CPU:
            self._precisions = by_preference(precision, GPU_PRECISIONS)
        available = onnxruntime.get_available_providers()
        if provider not in available:
            raise EngineError(
                f"onnxruntime: got provider {provider}, expected one of {', '.join(available)}; those for GPUs come "
                "with pip install 'usert[gpu]', in the place of 'usert[cpu]'"
            )
        if provider == TENSORRT and bundle.manifest.opset > OPSET_OF_TENSORRT:
            raise EngineError(
                f"onnxruntime: {provider}: got graphs of opset {bundle.manifest.opset}, expected {OPSET_OF_TENSORRT} "
                "or less: in later ones TensorRT 10 samples the nearest pixel; export the bundle again"
            )
        self._provider = provider

    @property
    def name(self) -> str:
        return f"onnxruntime {self._provider}"

    def _open(self, graph: Graph, at_once: int) -> Session:
        kept = self._cache(graph) if self._provider == TENSORRT else None
        if self._provider != CPU:
            _load_libraries(self._provider)
        for providers in attempts(self._provider, graph.shape, cache=kept):
            try:
                return self._bound(graph, providers, at_once)
            except EngineError:
                raise
            except Exception as error:  # onnxruntime has no common base for what it raises
                refused = error
        raise EngineError(f"{self.name}: cannot open {graph.file}: {first_line(refused)}") from refused

    def _cache(self, graph: Graph) -> Path:
        gpu = gpu_name()
        if gpu is None:
            raise EngineError(
                f"{self.name}: got no NVIDIA GPU that NVML names, expected one; "
                "look for it with nvidia-smi, and pip install 'usert[gpu]'"
            )
        return cache_folder(self._bundle, graph, device=gpu, library=f"onnxruntime {onnxruntime.__version__}")

    def _bound(self, graph: Graph, providers: Providers, at_once: int) -> Session:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _LOG_FATAL  # errors come back as exceptions
        options.intra_op_num_threads = max(1, self._threads // at_once)
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            str(self._bundle.path_of(graph)),
            sess_options=options,
            providers=[name for name, _ in providers],
            provider_options=[told for _, told in providers],
            enable_fallback=0,  # else it prints, and opens without what was refused
        )
        running = session.get_providers()
        if self._provider not in running:
            raise EngineError(f"onnxruntime: got provider {', '.join(running)}, expected {self._provider}")
        names = self._inputs(graph)
        expected = {name: f"tensor({'int16' if name in FRAMES else 'float'})" for name in names}
        check_contract(self.name, graph, _types(session.get_inputs()), expected)
        check_contract(
            self.name, graph, _types(session.get_outputs()), dict.fromkeys(OUTPUTS, "tensor(float)")
        )
        device = "cpu" if self._provider == CPU else "cuda"
        bound = in_turns([_BoundSession(session, names, device) for _ in range(at_once)])
        if self._provider != CPU and graph.shape is not None:
            nothing = np.zeros(graph.shape, np.int16)
            inputs = graph_inputs(self._front_end, nothing, nothing, TYPICAL)
            if START in names:
                inputs = (*inputs, np.zeros(START_SHAPE, np.float32))
            bound(inputs)  # a CUDA graph is captured in the first run, and may be refused there
        return bound


class _BoundSession:
    """A session with tensors at fixed addresses on `device`, for the shapes of the last run."""

    def __init__(self, session: Any, names: Sequence[str], device: str) -> None:
        self._session = session
        self._names = names
        self._device = device
        self._shapes: list[tuple[int, ...]] = []

    def __call__(self, inputs: Inputs) -> Sequence[NDArray[np.float32]]:
        if [array.shape for array in inputs] != self._shapes:
            self._bind(inputs)
        for array, tensor, staging in zip(inputs, self._inputs, self._staging, strict=True):
            if staging is not None:
                np.copyto(staging, array)
            tensor.update_inplace(array if staging is None else staging)
        self._session.run_with_iobinding(self._binding)
        outputs: Sequence[NDArray[np.float32]] = self._binding.copy_outputs_to_cpu()
        return outputs

    def _bind(self, inputs: Inputs) -> None:
        self._shapes = []
        tensor = onnxruntime.OrtValue.ortvalue_from_shape_and_type
        shape = inputs[0].shape
        self._inputs = [tensor(array.shape, array.dtype, self._device, 0) for array in inputs]
        self._staging = [_page_locked(array) if self._device == "cuda" else None for array in inputs]
        self._binding = self._session.io_binding()
        for name, value in zip(self._names, self._inputs, strict=True):
            self._binding.bind_ortvalue_input(name, value)
        for name, full in zip(OUTPUTS, ((2, *shape), shape, shape), strict=True):
            self._binding.bind_ortvalue_output(name, tensor(full, np.float32, self._device, 0))
        self._shapes = [array.shape for array in inputs]


@cache
def _load_libraries(provider: str) -> None:
    """Load the libraries that are Python packages, where the loader does not look, before the first GPU session."""
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # float32 is float32; TensorRT's provider has no option for it
    onnxruntime.set_default_logger_severity(_LOG_ERRORS)
    if provider == TENSORRT:
        with suppress(Exception):  # what is missing shows when the session opens
            importlib.import_module("tensorrt")
    with redirect_stdout(StringIO()):  # prints what it does not find
        onnxruntime.preload_dlls(directory="")


def _page_locked(like: NDArray[Any]) -> NDArray[Any]:
    """A page-locked array shaped `like` another; an ordinary one, with a warning, where that is not possible."""
    try:
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            like.shape, like.dtype, memory_info=_page_locked_memory()
        )
    except Exception as error:
        _log.warning("onnxruntime: frames reach the GPU the slower way: %s", first_line(error))
        return np.empty_like(like)
    array: NDArray[Any] = value.numpy()
    return array


@cache
def _page_locked_memory() -> Any:
    """CUDA's allocator of page-locked memory, shared by all sessions; it exists once a session has loaded CUDA."""
    memory = onnxruntime.OrtMemoryInfo(
        "CudaPinned", onnxruntime.OrtAllocatorType.ORT_DEVICE_ALLOCATOR, 0, onnxruntime.OrtMemType.CPU_OUTPUT
    )
    onnxruntime.create_and_register_allocator_v2(CUDA, memory, {}, onnxruntime.OrtArenaCfg({}))
    return memory


def _types(nodes: Sequence[Any]) -> dict[str, str]:
    return {node.name: node.type for node in nodes}
