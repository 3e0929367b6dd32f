"""Preflight of a live server, `usert serve --check`: go through its start, report what is there, and end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from usert.bundle import Bundle
from usert.errors import BundleError, EngineError, RecordingError
from usert.signals import ended_by_ctrl_c

from ..engines.interface import Engine, noise_pair
from ..record.recorder import RESERVE_BYTES
from ..record.writer import check_free
from ..transport.keys import ServerKeys, public_keys
from .config import ServerConfig
from .launch import PrintLine, Shape, Site, open_server, warm_up


def check(site: Site, *, print_line: PrintLine) -> None:
    """Do all that `serve` does before it serves, on a pair of noise, and close it again. Errors: `UsertError`."""

    def report(line: str) -> None:
        print_line(f"check: {line}")

    report(describe_keys(site.config))
    report(describe_bundle(site.bundle))
    with closing(site.open(site.bundle)) as engine:
        with ended_by_ctrl_c():
            warm_up(engine, site)
            report(try_engine(engine, site.bundle, site.precision))
        recorder = site.make_recorder()
        if recorder is not None:
            with recorder:
                report(describe_record(recorder.path))
        if site.record_folder is not None:
            probe = site.record_folder / ".usert-check.h5"
            check_free(probe)
            report(describe_record(probe))
        # without a recorder: a source may send already
        with open_server(site, engine, (), report=report):
            report("all is well")


def describe_keys(config: ServerConfig) -> str:
    """A line about who may see the images, and whose frames are accepted."""
    if config.keys is None:
        viewers = "none, anybody who reaches the endpoint sees the images"
    else:
        viewers = _allowed("viewer", config.keys)
    if config.rf_keys is None:
        return f"keys: {viewers}; no key asked of the source"
    if isinstance(config.rf_keys, ServerKeys):
        return f"keys: {viewers}; {_allowed('source', config.rf_keys)}"
    return f"keys: {viewers}; the source by its key {config.rf_keys.server.decode()}"


def _allowed(what: str, keys: ServerKeys) -> str:
    count = len(public_keys(keys.allowed))
    return f"{count} {what}{'' if count == 1 else 's'} allowed by {keys.allowed}"


def describe_bundle(bundle: Bundle) -> str:
    """A line about a bundle that was loaded, which compared its files with their hashes."""
    count = len(bundle.manifest.made)
    weights = bundle.manifest.weights.sha256[:12]
    return f"bundle {bundle.folder}, weights {weights}, {count} graph{'' if count == 1 else 's'}, hashes verified"


def try_engine(engine: Engine, bundle: Bundle, precision: str | None) -> str:
    """Warm `engine` up and run a pair of noise of the first shape that it accepts; a line with its times.

    `bundle`, `precision`: those that it was opened with. Errors: `EngineError`, also where an output is not finite;
    `BundleError` where it accepts no shape.
    """
    refused: BundleError | None = None
    for shape in _shapes(bundle, precision):
        begun_s = time.monotonic()
        try:
            engine.warm_up(shape)
        except BundleError as error:
            refused = error
            continue
        warm_s = time.monotonic()
        estimate = engine.run(*noise_pair(shape))
        done_s = time.monotonic()
        if fault := estimate.fault(shape):
            raise EngineError(f"{engine.name}: of noise, {fault}")
        warm_ms, run_ms = 1e3 * (warm_s - begun_s), 1e3 * (done_s - warm_s)
        return (
            f"engine {engine.name}, {shape[0]} x {shape[1]}: warm-up {warm_ms:.0f} ms, a pair {run_ms:.0f} ms"
        )
    raise refused or EngineError(f"{engine.name}: got no shape to try")


def _shapes(bundle: Bundle, precision: str | None) -> Iterator[Shape]:
    """Shapes that graphs and plans were made for, then a small one, which a graph for any shape accepts."""
    for graph in bundle.manifest.graphs:
        if graph.shape is not None and precision in (None, graph.precision):
            yield graph.shape
    for plan in bundle.manifest.plans:
        yield plan.most
    rows = max(bundle.manifest.strain_window_samples, 128)
    yield 32 * -(-rows // 32), 64


def describe_record(path: Path) -> str:
    """A line about where a record goes and the free space there. Errors: `RecordingError` for too little of it."""
    folder = path.absolute().parent
    free = shutil.disk_usage(folder).free
    if free < RESERVE_BYTES:
        raise RecordingError(
            f"record {path}: got {free / 1e6:.0f} MB free, expected more than {RESERVE_BYTES / 1e6:.0f} MB,"
            " which always stay free: make room, or name another disk"
        )
    return f"record in {folder}, {free / 1e9:.1f} GB free"
