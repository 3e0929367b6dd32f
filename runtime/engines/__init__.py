"""Engines, one library a module; importing this loads none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from usert.bundle import Bundle, default_bundle_path
from usert.errors import EngineError, MissingExtraError, OptionError, UsertError

from ..engine import Engine

if TYPE_CHECKING:
    from .graph_engine import GraphEngine

BEST = "best"
ENGINES = ("onnxruntime-tensorrt", "onnxruntime-cuda", "onnxruntime", "openvino")
"""By the names that a person types, best first. On two cores OpenVINO is up to an eighth faster than ONNX Runtime on
a graph of one shape, a fifth slower on the one for any, and takes seconds to open either (`benchmarks/RESULTS.md`)."""
_ON_GPU = ("onnxruntime-tensorrt", "onnxruntime-cuda")
_PROVIDERS = {
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime": "CPUExecutionProvider",
}


def open_engine(bundle: Bundle, *, engine: str = BEST, threads: int | None = None) -> Engine:
    """`bundle` opened by the engine of that name, or by the first of `ENGINES` that really runs it here.

    The caller closes it. Errors: `OptionError` for an unknown name, `MissingExtraError` where its library is not
    installed, `EngineError` where it cannot run here; where none can, that of ONNX Runtime.
    """
    if engine != BEST:
        return _make(engine, bundle, threads)
    refused: dict[str, UsertError] = {}
    for name in ENGINES:
        try:
            made = _make(name, bundle, threads)
            if name in _ON_GPU:
                made.open_one()  # what is listed may still not work
        except (EngineError, MissingExtraError) as error:
            refused[name] = error
            continue
        return made
    raise refused["onnxruntime"]


def open_classical(method: str) -> Engine:
    """A classical estimator by its name in `usert.estimators`, with the default bundle's strain window.

    Errors: `OptionError` for another name.
    """
    from .classical import ClassicalEngine

    manifest = Bundle.load(default_bundle_path(), verify=False).manifest
    return ClassicalEngine(method, strain_window_samples=manifest.strain_window_samples)


def _make(name: str, bundle: Bundle, threads: int | None) -> GraphEngine:
    if name == "openvino":
        from .openvino import OpenVinoEngine

        return OpenVinoEngine(bundle, threads=threads)
    if name in _PROVIDERS:
        from .ort import OrtEngine

        return OrtEngine(bundle, threads=threads, provider=_PROVIDERS[name])
    raise OptionError(f"engine: got {name!r}, expected {BEST}, {', '.join(sorted(ENGINES))}")
