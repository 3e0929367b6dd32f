"""Engines that run a bundle, one library a module; importing this loads none of them."""

from __future__ import annotations

from usert.bundle import Bundle

from ..engine import Engine


def open_engine(bundle: Bundle, *, threads: int | None = None) -> Engine:
    """The best engine for `bundle` that this installation can run; the caller closes it.

    Errors: `MissingExtraError` without onnxruntime, `EngineError` if it cannot run here.
    """
    from .ort import OrtEngine

    return OrtEngine(bundle, threads=threads)
