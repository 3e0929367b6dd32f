"""The rates of this machine's CPU that a roofline needs: float32 matrix products, and copies, by numpy.

    python -m usert.runtime.bench.rates THREADS    # one JSON object

Measured in a process of its own, because numpy's library fixes its number of threads when it is loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial

import numpy as np

from usert.errors import EngineError

from .roofline import Rates

_POOLS = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_SIDES = 1024, 2048
"""Sides of the matrices: the first fits the caches of most CPUs, the second gives many cores enough to do."""
_COPIED = 1 << 24
"""Numbers that each thread copies: 64 MiB, more than the caches hold."""
_SECONDS = 0.5
"""Length of each measurement."""
_PATIENCE_S = 120.0


def cpu_rates(threads: int) -> Rates:
    """Measure the peak rates with `threads` threads, which takes two seconds. Errors: `EngineError`."""
    try:
        answer = subprocess.run(
            [sys.executable, "-m", __name__, str(threads)],
            env=os.environ | dict.fromkeys(_POOLS, str(threads)),
            capture_output=True,
            text=True,
            check=True,
            timeout=_PATIENCE_S,
        ).stdout
    except subprocess.SubprocessError as error:
        raise EngineError(f"rates of this machine: cannot be measured: {error}") from error
    return Rates(**json.loads(answer))


def better(a: Rates, b: Rates) -> Rates:
    """The higher of each rate."""
    return Rates(flops=max(a.flops, b.flops), bytes=max(a.bytes, b.bytes))


def _measured(threads: int) -> Rates:
    rng = np.random.default_rng(0)
    flops = 0.0
    for side in _SIDES:
        a, b = rng.standard_normal((2, side, side), np.float32)
        out = np.empty_like(a)
        flops = max(flops, 2 * side**3 / _best_s(partial(np.matmul, a, b, out=out)))
    source = np.ones((threads, _COPIED), np.float32)
    copy = np.zeros_like(source)
    with ThreadPoolExecutor(threads) as pool:
        seconds = _best_s(lambda: list(pool.map(np.copyto, copy, source)))
    return Rates(flops=flops, bytes=2 * source.nbytes / seconds)


def _best_s(work: Callable[[], object]) -> float:
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return best


if __name__ == "__main__":
    print(json.dumps(asdict(_measured(int(sys.argv[1])))))
