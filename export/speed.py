"""The time of a pair, for the manifest: measured where the bundle is made, by the runner that the gate accepted.

Knows no library. The first runs, which load and settle, do not count.
"""

from __future__ import annotations

import time

import numpy as np

from usert.bundle.manifest import Speed
from usert.machine import cpu_name, usable_cores

from .gate import FramePair, Run

WARM_UP, ROUNDS = 2, 7


def measured(run: Run, shape: tuple[int, int], *, engine: str, machine: str | None = None) -> Speed:
    """Median time of some runs on noise of `shape` (N, M); `machine` is this CPU if not given."""
    pair = np.random.default_rng(0).integers(-3000, 3000, (2, *shape), dtype=np.int16)
    times = np.zeros(WARM_UP + ROUNDS)
    for turn in range(len(times)):
        begin = time.perf_counter()
        run(FramePair(pair[0], pair[1]))
        times[turn] = time.perf_counter() - begin
    return Speed(
        engine=engine,
        machine=machine or cpu_name(),
        threads=usable_cores(),
        shape=shape,
        milliseconds=round(1e3 * float(np.median(times[WARM_UP:])), 2),
    )
