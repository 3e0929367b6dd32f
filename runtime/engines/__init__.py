"""Engines, one library a module; importing this loads none of them."""

from __future__ import annotations

from usert.bundle import Bundle, default_bundle_path

from ..engine import Engine


def open_engine(bundle: Bundle, *, threads: int | None = None) -> Engine:
    """The best engine for `bundle` that this installation can run; the caller closes it.

    Errors: `MissingExtraError` without onnxruntime, `EngineError` if it cannot run here.
    """
    from .ort import OrtEngine

    return OrtEngine(bundle, threads=threads)


def open_classical(method: str) -> Engine:
    """A classical estimator by its name in `usert.estimators`, with the default bundle's strain window.

    Errors: `OptionError` for another name.
    """
    from .classical import ClassicalEngine

    manifest = Bundle.load(default_bundle_path(), verify=False).manifest
    return ClassicalEngine(method, strain_window_samples=manifest.strain_window_samples)
