"""One pair of frames through an engine that stays open between calls: for scripts and notebooks.

Invariant: an engine is opened once for each choice of bundle, library, threads and precision, is never called by two
threads at once, and is closed when the interpreter ends.
"""

from __future__ import annotations

import atexit
import os
import threading
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from usert.bundle import Bundle, default_bundle_path
from usert.errors import OptionError
from usert.frame import Scan

from ..imaging.estimate import Estimate
from .interface import Engine
from .registry import BEST, REFERENCE, open_engine

_busy = threading.Lock()


def estimate(
    reference: ArrayLike,
    current: ArrayLike,
    scan: Scan,
    *,
    bundle: str | os.PathLike[str] | None = None,
    engine: str = BEST,
    threads: int | None = None,
    precision: str | None = None,
) -> Estimate:
    """Displacement, strain and quality between two RF frames; see `usert.estimate`. Errors: as there."""
    if engine == REFERENCE:
        raise OptionError(f"engine: got {engine!r}, which only commands open: usert run --engine {engine}")
    folder = os.fspath(default_bundle_path() if bundle is None else bundle)
    with _busy:
        return _opened(folder, engine, threads, precision).run(
            _samples(reference, scan), _samples(current, scan), scan
        )


def _samples(frame: ArrayLike, scan: Scan) -> NDArray[Any]:
    """`frame` as an array, complex numbers of an IQ scan as in-phase and quadrature on a last axis."""
    samples = np.asarray(frame)
    if scan.kind == "iq" and np.iscomplexobj(samples):
        return np.stack((samples.real, samples.imag), axis=-1).astype(np.float32, copy=False)
    return samples


@cache
def _opened(folder: str, engine: str, threads: int | None, precision: str | None) -> Engine:
    opened = open_engine(Bundle.load(folder), engine=engine, threads=threads, precision=precision)
    atexit.register(opened.close)
    return opened
