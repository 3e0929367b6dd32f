"""What `usert serve --check` finds out and says, a line each: keys, bundle, engine, record.

Knows not what is opened when. Invariant: says what there is, not what was asked for.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from usert.bundle import Bundle
from usert.errors import BundleError, EngineError, RecordingError
from usert.runtime.engines.interface import TYPICAL_SCAN, Engine
from usert.runtime.record.recorder import RESERVE_BYTES
from usert.runtime.server.config import ServerConfig
from usert.runtime.transport.keys import ServerKeys, public_keys


def told_keys(config: ServerConfig) -> str:
    """Who sees the images, and whose frames are taken."""
    if config.keys is None:
        viewers = "none, anybody who reaches the endpoint sees the images"
    else:
        count = len(public_keys(config.keys.allowed))
        viewers = f"{count} viewer{'' if count == 1 else 's'} let in by {config.keys.allowed}"
    if config.rf_keys is None:
        return f"keys: {viewers}; no key asked of the source"
    if isinstance(config.rf_keys, ServerKeys):
        count = len(public_keys(config.rf_keys.allowed))
        return (
            f"keys: {viewers}; {count} source{'' if count == 1 else 's'} let in by {config.rf_keys.allowed}"
        )
    return f"keys: {viewers}; the source by its key {config.rf_keys.server.decode()}"


def told_bundle(bundle: Bundle) -> str:
    """Which one; its files were compared with its hashes when it was loaded."""
    count = len(bundle.manifest.made)
    weights = bundle.manifest.weights.sha256[:12]
    return f"bundle {bundle.folder}, weights {weights}, {count} graph{'' if count == 1 else 's'}, hashes verified"


def try_engine(engine: Engine, bundle: Bundle, precision: str | None) -> str:
    """Warm up and run once, on noise of the first shape that the engine takes. Errors: `EngineError`, `BundleError`."""
    refused: BundleError | None = None
    for shape in _shapes(bundle, precision):
        begun_s = time.monotonic()
        try:
            engine.warm_up(shape)
        except BundleError as error:
            refused = error
            continue
        warm_s = time.monotonic()
        noise = np.random.default_rng(1).integers(-1000, 1000, (2, *shape), dtype=np.int16)
        estimate = engine.run(noise[0], noise[1], TYPICAL_SCAN)
        done_s = time.monotonic()
        if not all(np.isfinite(part).all() for part in (estimate.strain, estimate.quality)):
            raise EngineError(f"{engine.name}: got strain or quality that is not finite, of noise")
        warm_ms, run_ms = 1e3 * (warm_s - begun_s), 1e3 * (done_s - warm_s)
        return (
            f"engine {engine.name}, {shape[0]} x {shape[1]}: warm-up {warm_ms:.0f} ms, a pair {run_ms:.0f} ms"
        )
    raise refused or EngineError(f"{engine.name}: got no shape to try")


def _shapes(bundle: Bundle, precision: str | None) -> Iterator[tuple[int, int]]:
    """Those that graphs and plans are made for, then a small one that graphs for any shape take."""
    for graph in bundle.manifest.graphs:
        if graph.shape is not None and precision in (None, graph.precision):
            yield graph.shape
    for plan in bundle.manifest.plans:
        yield plan.most
    rows = max(bundle.manifest.strain_window_samples, 128)
    yield 32 * -(-rows // 32), 64


def told_record(path: Path) -> str:
    """Where it goes and how much fits. Errors: `RecordingError` where nothing would be written."""
    folder = path.absolute().parent
    free = shutil.disk_usage(folder).free
    if free < RESERVE_BYTES:
        raise RecordingError(
            f"record {path}: got {free / 1e6:.0f} MB free, expected more than {RESERVE_BYTES / 1e6:.0f} MB,"
            " which always stay free: make room, or name another disk"
        )
    return f"record in {folder}, {free / 1e9:.1f} GB free"
