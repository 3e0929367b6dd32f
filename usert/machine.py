"""A description of the machine that this process runs on, for manifests, caches of engines and reports of benchmarks.

Asks the system, the driver and the installed packages, and starts nothing on a GPU. Invariant: what cannot be read is
None, never guessed.
"""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .version import __version__

_LIBRARIES = (
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt-cu13",
    "tensorrt-rtx",
    "torch",
    "pyzmq",
)
_CPU = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_BUSY = 0.5
"""Load per core above which times are not to be trusted."""


def cpu_name() -> str:
    """Model of the CPU, or its architecture where the system does not name the model."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (named[0] if named else platform.processor()) or platform.machine()


def usable_cores() -> int:
    """Number of cores that this process may use; libraries by themselves count all cores of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpu_name() -> str | None:
    """Name and compute capability of the driver's first NVIDIA GPU, such as `NVIDIA H200 (sm_90)`.

    `CUDA_VISIBLE_DEVICES` is ignored. None without a GPU, its driver, or `pynvml` (extras `gpu`, `tensorrt`, `rtx`).
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


def describe_machine() -> dict[str, Any]:
    """Describe CPU, GPU, clocks, system, versions, commit and present load in values that JSON can hold."""
    return {
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "clock_mhz": _clock_mhz(),
        "governor": _read(_CPU / "scaling_governor"),
        "clock_most_khz": _read(_CPU / "cpuinfo_max_freq"),
        "memory_gb": _memory_gb(),
        "gpu": gpu_name(),
        "system": platform.platform(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name)) is not None},
        "usert": __version__,
        "commit": commit(),
    }


def machine_lines(found: dict[str, Any]) -> list[str]:
    """Lines for a person from `found`, the result of `describe_machine`."""
    clock = found["clock_mhz"]
    parts = [found["cpu"], f"{found['cores']} core{'' if found['cores'] == 1 else 's'}"]
    parts += [] if clock is None else [f"{clock:.0f} MHz now"]
    parts += [f"governor {found['governor'] or 'not readable'}"]
    parts += [] if found["memory_gb"] is None else [f"{found['memory_gb']:.0f} GB"]
    parts += [found["gpu"] or "no GPU"]
    libraries = ", ".join(f"{name} {number}" for name, number in found["libraries"].items())
    code = f"usert {found['usert']}" + ("" if found["commit"] is None else f" ({_short(found['commit'])})")
    return [", ".join(parts), f"{found['system']}, Python {found['python']}, {libraries}, {code}"]


def load_warning(found: dict[str, Any]) -> str | None:
    """A warning if the machine was busy at `found`, a result of `describe_machine`, else None."""
    load, cores = found["load"], found["cores"]
    if load is None or load <= _BUSY * cores:
        return None
    return f"the machine is busy (load {load:.1f} on {cores} cores): read ratios, not times"


def commit() -> str | None:
    """Commit of the checkout that tracks the package, with `-dirty` after a change; None without a checkout."""
    source = Path(__file__).resolve()
    answer = ""
    try:
        # an installed package may lie inside somebody else's checkout: that commit would mean nothing
        for arguments in (
            ("ls-files", "--error-unmatch", source.name),
            ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"),
        ):
            answer = subprocess.run(
                ["git", "--no-optional-locks", "-C", str(source.parent), *arguments],
                capture_output=True, text=True, timeout=30, check=True,
            ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.strip() or None


def _short(name: str) -> str:
    number, dash, dirty = name.partition("-")
    return number[:12] + dash + dirty


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _clock_mhz() -> float | None:
    """Mean of all cores, at this moment."""
    lines = (_read(Path("/proc/cpuinfo")) or "").splitlines()
    clocks = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return sum(clocks) / len(clocks) if clocks else None


def _memory_gb() -> float | None:
    for line in (_read(Path("/proc/meminfo")) or "").splitlines():
        if line.startswith("MemTotal"):
            return int(line.split()[1]) / 1e6
    return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
