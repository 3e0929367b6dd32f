"""Figures of long runs: percentiles, whether something grows, and what a process holds.

Knows no sockets. Invariant: what is called flat rises by less than `FLAT` of its mean from the first to the last
sample, by the straight line that fits best, or by no more than its scatter explains.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FLAT = 0.02
PERCENTILES = {"p50": 50, "p90": 90, "p99": 99, "max": 100}


def spread(values: Sequence[float], name: str = "", ceiling: float | None = None) -> dict[str, Any]:
    """p50, p90, p99 and max as columns of a table, with the ceiling beside; empty cells where there is no value."""
    prefix = f"{name} " if name else ""
    row: dict[str, Any] = {
        f"{prefix}{key}": float(np.percentile(values, q)) if len(values) else ""
        for key, q in PERCENTILES.items()
    }
    return row if ceiling is None else row | {f"{prefix}ceiling": ceiling}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What a process holds at one moment."""

    rss_mb: float
    threads: int
    files: int
    """Open descriptors."""
    cpu_s: float
    """That it has used."""

    @classmethod
    def of(cls, pid: int) -> Vitals:
        """Errors: `FileNotFoundError`, `ProcessLookupError` when it has ended."""
        folder = Path(f"/proc/{pid}")
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        times = (folder / "stat").read_text().rpartition(")")[2].split()
        return cls(
            rss_mb=int(status["VmRSS"].split()[0]) / 1024,
            threads=int(status["Threads"]),
            files=len(os.listdir(folder / "fd")),
            cpu_s=(int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """The straight line through samples over time."""

    mean: float
    slope: float
    """A minute."""
    error: float
    """Standard error of `slope`, as if the samples were independent."""
    rise: float
    """Over all samples."""

    @classmethod
    def of(cls, seconds: Sequence[float], values: Sequence[float]) -> Trend:
        """Of three samples or more."""
        x, y = np.asarray(seconds) / 60, np.asarray(values, np.float64)
        (slope, _), covariance = np.polyfit(x, y, 1, cov="unscaled")
        left = y - np.polyval(np.polyfit(x, y, 1), x)
        error = float(np.sqrt(covariance[0, 0] * (left @ left) / max(len(x) - 2, 1)))
        return cls(mean=float(y.mean()), slope=float(slope), error=error, rise=float(slope * (x[-1] - x[0])))

    @property
    def flat(self) -> bool:
        return self.rise < FLAT * self.mean or self.slope < 2 * self.error

    def __str__(self) -> str:
        return f"{self.mean:.1f} {self.slope:+.2g} ± {self.error:.1g} a minute"
