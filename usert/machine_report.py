"""The machine of a benchmark, as whoever reads its figures must know it.

Knows the system's files and the packages that are installed; runs no engine. Invariant: what cannot be read is None,
never guessed.
"""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from usert import __file__ as package
from usert import __version__
from usert.machine import cpu_name, gpu_name, usable_cores

LIBRARIES = (
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
"""Of the cores, in use by others before anything was measured."""


def machine() -> dict[str, Any]:
    """CPU, GPU, clocks, system, versions, commit and load at this moment."""
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
        "libraries": {name: found for name in LIBRARIES if (found := _version(name)) is not None},
        "usert": __version__,
        "commit": commit(),
    }


def told_machine(found: dict[str, Any]) -> list[str]:
    """The same in lines that a person reads."""
    clock = found["clock_mhz"]
    parts = [found["cpu"], f"{found['cores']} core{'' if found['cores'] == 1 else 's'}"]
    parts += [] if clock is None else [f"{clock:.0f} MHz now"]
    parts += [f"governor {found['governor'] or 'not readable'}"]
    parts += [] if found["memory_gb"] is None else [f"{found['memory_gb']:.0f} GB"]
    parts += [found["gpu"] or "no GPU"]
    libraries = ", ".join(f"{name} {number}" for name, number in found["libraries"].items())
    code = f"usert {found['usert']}" + ("" if found["commit"] is None else f" ({_short(found['commit'])})")
    return [", ".join(parts), f"{found['system']}, Python {found['python']}, {libraries}, {code}"]


def busy(found: dict[str, Any]) -> str | None:
    """What to say where others use this machine, too."""
    load, cores = found["load"], found["cores"]
    if load is None or load <= _BUSY * cores:
        return None
    return f"the machine is busy (load {load:.1f} on {cores} cores): read ratios, not times"


def commit() -> str | None:
    """Of the checkout that tracks the package, with `-dirty` behind it where that was changed; None elsewhere."""
    source = Path(package).resolve()
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
    """The mean of all cores, at this moment."""
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
