"""The engines by name, and which of them to open; importing this loads none of their libraries."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usert.bundle import Bundle, default_bundle_path
from usert.errors import OptionError

from .best import BestEngine, Opener
from .interface import Engine

if TYPE_CHECKING:
    from .bundle_engine import BundleEngine

BEST = "best"
ENGINES = ("tensorrt", "tensorrt-rtx", "onnxruntime-tensorrt", "onnxruntime-cuda", "openvino", "onnxruntime")
"""Names on the command line, best first: OpenVINO takes .3 to .9 of ONNX Runtime's time on a CPU, in the same
precision, but for float32 graphs of any shape (`benchmarks/RESULTS.md`); those for GPUs are in the order expected."""
REFERENCE = "torch"
"""The reference engine, which is part of export, since the runtime does without torch."""
_ON_GPU = ENGINES[:4]
_PROVIDERS = {
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime": "CPUExecutionProvider",
}
_LIBRARIES = {"onnxruntime-tensorrt": "providers_tensorrt", "onnxruntime-cuda": "providers_cuda"}
"""Files of ONNX Runtime's package for GPUs: `libonnxruntime_providers_cuda.so` or `onnxruntime_providers_cuda.dll`."""
_TENSORRTS = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}


def open_engine(
    bundle: Bundle,
    *,
    engine: str = BEST,
    threads: int | None = None,
    precision: str | None = None,
    at_once: int | None = 1,
    reference: Opener | None = None,
) -> Engine:
    """Open `bundle` with the engine of that name, or with the first of `ENGINES` that really runs a frame here.

    `precision` is that of the graphs; None: what suits the engine. `at_once`: pairs that run at once and share the
    threads, where the engine can; None: by the size of the frames. `reference` opens the engine `torch` on a GPU, which
    is tried after the other engines for GPUs. The caller closes the engine. Errors: `OptionError` for
    an unknown name, `MissingExtraError` where its library is not installed, `EngineError` where it cannot run here,
    `BundleError` for graphs that the bundle lacks; where none can run, that of ONNX Runtime.
    """
    if engine != BEST:
        return _make(engine, bundle, threads, precision, at_once)

    def opened(name: str) -> Engine:
        made = _make(name, bundle, threads, precision, at_once)
        if name in _ON_GPU:
            made.open_one()  # what is listed may still not work
        return made

    names = [name for name in ENGINES if _worth_opening(name, bundle)]
    candidates: dict[str, Opener] = {name: partial(opened, name) for name in names if name in _ON_GPU}
    if reference is not None:
        candidates[REFERENCE] = reference
    candidates |= {name: partial(opened, name) for name in names if name not in _ON_GPU}
    return BestEngine(candidates, blame="onnxruntime")


def _worth_opening(name: str, bundle: Bundle) -> bool:
    """Whether an engine may run here, as far as can be told without importing its library, which takes up to half a
    second.

    With a build of ONNX Runtime that keeps its providers elsewhere, a GPU engine must be named.
    """
    if name in _TENSORRTS:
        return any(plan.library == _TENSORRTS[name] for plan in bundle.manifest.plans)
    if name in _PROVIDERS and name in _ON_GPU:
        found = find_spec("onnxruntime")
        folders = () if found is None else found.submodule_search_locations or ()
        return any(path for folder in folders for path in Path(folder, "capi").glob(f"*{_LIBRARIES[name]}*"))
    return True


def open_classical(method: str) -> Engine:
    """Open a classical estimator of `usert.estimators` by name, with the default bundle's strain window.

    Errors: `OptionError` for another name.
    """
    from .classical import ClassicalEngine

    manifest = Bundle.load(default_bundle_path(), verify=False).manifest
    return ClassicalEngine(method, strain_window_samples=manifest.strain_window_samples)


def _make(
    name: str, bundle: Bundle, threads: int | None, precision: str | None, at_once: int | None
) -> BundleEngine[Any]:
    if name == "openvino":
        from .openvino import OpenVinoEngine

        return OpenVinoEngine(bundle, threads=threads, precision=precision, at_once=at_once)
    if name in _PROVIDERS:
        from .ort import OrtEngine

        return OrtEngine(
            bundle, threads=threads, precision=precision, at_once=at_once, provider=_PROVIDERS[name]
        )
    if name in _TENSORRTS:
        from .tensorrt import TensorRtEngine

        return TensorRtEngine(bundle, threads=threads, precision=precision, module=_TENSORRTS[name])
    raise OptionError(f"engine: got {name!r}, expected {BEST}, {', '.join(sorted((*ENGINES, REFERENCE)))}")
