"""What this process runs on: names of the CPU and of the GPU, for manifests, caches and benchmarks.

Knows no engine. Invariant: asks the system and the driver, and starts nothing on the GPU.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path


def cpu_name() -> str:
    """Model of the CPU as the system has it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (named[0] if named else platform.processor()) or platform.machine()


def usable_cores() -> int:
    """Cores that this process may use; a library left alone takes all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpu_name() -> str | None:
    """Name of the first NVIDIA GPU and its compute capability, such as `NVIDIA H200 (sm_90)`.

    The first as the driver counts them, whatever `CUDA_VISIBLE_DEVICES` says.
    None where there is no GPU, no driver, or no `pynvml` (extras `gpu`, `tensorrt`, `rtx`) to ask it.
    """
    try:
        import pynvml
    except ModuleNotFoundError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        first = pynvml.nvmlDeviceGetHandleByIndex(0)
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(first)
        return f"{pynvml.nvmlDeviceGetName(first)} (sm_{major}{minor})"
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()
