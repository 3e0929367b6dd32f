"""`--method` of `usert run`: the network's engine, or a classical estimator as one.

Knows which options belong to which. Invariant: an option that a method takes no notice of is refused.
"""

from __future__ import annotations

from pathlib import Path

from usert.bundle import Bundle
from usert.commands.engine import load_bundle, open_named
from usert.errors import OptionError, expect
from usert.estimators import ESTIMATORS
from usert.runtime.engines import open_classical
from usert.runtime.engines.concurrency import check_option
from usert.runtime.engines.interface import Engine
from usert.runtime.offline.provenance import NETWORK


def require_method(
    method: str,
    *,
    bundle: Path | None,
    engine: str,
    threads: int | None,
    precision: str | None,
    at_once: int | None,
) -> None:
    """Check that `method` is known and takes the other options. Errors: `OptionError` that names the option."""
    check_option(at_once)
    if method == NETWORK:
        return
    expect(method in ESTIMATORS, "--method", f"{method!r}", f"one of {NETWORK}, {', '.join(ESTIMATORS)}")
    asked = None if engine == "best" else engine
    options = (
        ("--bundle", bundle),
        ("--engine", asked),
        ("--precision", precision),
        ("--threads", threads),
        ("--at-once", at_once),
    )
    for option, value in options:
        if value is not None:
            raise OptionError(f"{option}: got {value} with --method {method}, which takes none: leave it out")


def open_method(
    method: str,
    bundle: Path | None,
    engine: str,
    threads: int | None,
    precision: str | None,
    at_once: int | None,
) -> tuple[Engine, Bundle | None]:
    """Open the engine of `method`, which the caller closes; with it the bundle, or None for a classical estimator.

    Errors: as `open_named`.
    """
    if method != NETWORK:
        return open_classical(method), None
    loaded = load_bundle(bundle)
    opened = open_named(loaded, engine=engine, threads=threads, precision=precision, at_once=at_once)
    return opened, loaded
