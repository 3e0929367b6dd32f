"""The providers of an ONNX Runtime session, with their options.

Invariant: the precision is that of the graph: float32 is never computed as TF32 or half.
"""

from __future__ import annotations

from pathlib import Path

from usert.frame import Shape

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

Providers = list[tuple[str, dict[str, str]]]
"""Providers with options, in order of preference for each node."""


def attempts(provider: str, shape: Shape | None, *, cache: Path | None = None) -> list[Providers]:
    """Lists of providers to try in this order; `cache`: the folder where TensorRT keeps its engines.

    A graph of one `shape` is first tried as a CUDA graph, which ONNX Runtime refuses when any node falls to another
    provider; one for any shape (None) never is, as addresses and shapes are fixed in a capture.
    """
    captures = (True, False) if shape is not None and provider in (CUDA, TENSORRT) else (False,)
    return [_providers(provider, capture, cache) for capture in captures]


def _providers(provider: str, capture: bool, cache: Path | None) -> Providers:
    if provider == TENSORRT:
        return [(TENSORRT, _tensorrt(capture, cache)), (CUDA, _cuda(False)), (CPU, {})]
    if provider == CUDA:
        return [(CUDA, _cuda(capture)), (CPU, {})]
    return [(provider, {})]


def _cuda(capture: bool) -> dict[str, str]:
    """Options of https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html"""
    return {
        "device_id": "0",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "use_tf32": "0",
        "enable_cuda_graph": "1" if capture else "0",
    }


def _tensorrt(capture: bool, cache: Path | None) -> dict[str, str]:
    """Options of https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html; flags are words."""
    kept = {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(cache),
    }
    return {
        "device_id": "0",
        "trt_cuda_graph_enable": "True" if capture else "False",
        **(kept if cache is not None else {}),
    }
