"""How many pairs an engine runs at once, and the sessions that they take turns in.

A pair is hundreds of small operators, which two threads hardly share: two pairs at once, of one thread each, come out
at nearly twice the rate (`benchmarks/RESULTS.md`). Large frames are other work: there all threads serve one pair, since
each of two would take nearly twice as long.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from usert.errors import EngineError, expect
from usert.frame import Scan, Shape

from .interface import Engine

AUTOMATIC = 2
"""Pairs at once where the number is not given and there is a thread for each."""
LARGEST = 2**19
"""Samples of a frame up to which several pairs run at once: 1024 x 256 is half of it, 1920 x 768 nearly three times."""
MOST_AT_ONCE = 8
Input = TypeVar("Input")
Output = TypeVar("Output")


@runtime_checkable
class ConcurrentEngine(Engine, Protocol):
    """An engine whose `run`, and `follow` where it has one, may be called by several threads at once."""

    def at_once(self, shape: Shape, scan: Scan | None = None) -> int:
        """Number of pairs of frames of `shape` (N, M) and `scan` that may be run at once, each in its own thread."""


def pairs_at_once(engine: Engine, shape: Shape, scan: Scan | None = None) -> int:
    """Number of pairs of frames of `shape` (N, M) that `engine` may run at once, each in a thread of its own."""
    return engine.at_once(shape, scan) if isinstance(engine, ConcurrentEngine) else 1


def allowed_at_once(engine: Engine, shape: Shape, scan: Scan) -> int:
    """Number of pairs at once as by `pairs_at_once`; 1 for frames that `engine` refuses, which its run says why."""
    try:
        return pairs_at_once(engine, shape, scan)
    except Exception:  # an engine runs foreign code
        return 1


def checked(at_once: int | None) -> int | None:
    """Check a number of pairs at once, None for an automatic one; returns it. Errors: `EngineError` if out of range."""
    expect(_in_range(at_once), "pairs at once", at_once, f"1 to {MOST_AT_ONCE}", error=EngineError)
    return at_once


def check_option(at_once: int | None) -> None:
    """Check the option `--at-once`, None where it is not given. Errors: `OptionError` if it is out of range."""
    expect(_in_range(at_once), "--at-once", at_once, f"1 to {MOST_AT_ONCE}")


def _in_range(at_once: int | None) -> bool:
    return at_once is None or 1 <= at_once <= MOST_AT_ONCE


def chosen(at_once: int | None, *, threads: int, shape: Shape) -> int:
    """Pairs at once of frames of RF `shape` (N, M) for an option `at_once`; None chooses by the frames' size."""
    if at_once is not None:
        return at_once
    return min(AUTOMATIC, threads) if shape[0] * shape[1] <= LARGEST else 1


def in_turns(sessions: Sequence[Callable[[Input], Output]]) -> Callable[[Input], Output]:
    """One function of `sessions`, each of which runs one call at a time: a call waits until one of them is free."""
    if len(sessions) == 1:
        return sessions[0]
    free: queue.SimpleQueue[Callable[[Input], Output]] = queue.SimpleQueue()
    for session in sessions:
        free.put(session)

    def run(inputs: Input) -> Output:
        session = free.get()
        try:
            return session(inputs)
        finally:
            free.put(session)

    return run
