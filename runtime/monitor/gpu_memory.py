"""Memory of the GPUs, as their driver counts it.

Knows no engine. Invariant: asks the driver only, starts nothing on a GPU, and says nothing rather than fail.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """Of one GPU, by all processes that use it."""

    gpu: int
    """As the driver counts them, whatever `CUDA_VISIBLE_DEVICES` says."""
    used_bytes: int
    total_bytes: int


def gpu_memory() -> tuple[GpuMemory, ...]:
    """Of every GPU that this process may see; none where there is no GPU, no driver, or no `pynvml` to ask it."""
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
        pass  # one that is lost, or whose memory may not be asked for
    finally:
        pynvml.nvmlShutdown()
    return tuple(found)
