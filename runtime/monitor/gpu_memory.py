"""Memory of the GPUs, as their driver counts it.

Invariant: only the driver is asked, nothing is started on a GPU, and a GPU that cannot be read is left out.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """Memory of one GPU, in use by all processes."""

    gpu: int
    """Number by the driver's count, whatever `CUDA_VISIBLE_DEVICES` holds."""
    used_bytes: int
    total_bytes: int


def gpu_memory() -> tuple[GpuMemory, ...]:
    """Memory of every GPU; empty without a GPU, a driver, or `pynvml` to ask it."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    found = []
    try:
        for index in range(pynvml.nvmlDeviceGetCount()):
            memory = pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(index))
            found.append(GpuMemory(gpu=index, used_bytes=memory.used, total_bytes=memory.total))
    except pynvml.NVMLError:
        pass  # a GPU that is lost, or whose memory this process may not read
    finally:
        pynvml.nvmlShutdown()
    return tuple(found)
