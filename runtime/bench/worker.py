"""One engine at one shape in a process of its own, which runs when it is told to: a contestant of a benchmark.

A process each, so that memory and processor time are its own, and threads that a library leaves waiting disturb no
other. Knows engines by whatever opens them. Invariant: at the end of the `with` block the process is gone; and what it
raised of ours is raised here.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from usert.bundle import Bundle
from usert.errors import EngineError, UsertError

from ..engines.interface import TYPICAL_SCAN, Engine
from ..imaging.estimate import Estimate
from ..monitor.gpu_memory import gpu_memory
from .turn import Order, Turn, take_turn

Frame = NDArray[np.int16]
Opener = Callable[..., Engine]
"""As `usert.runtime.engines.open_engine`, and importable by name."""
_ENDING_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What is compared with what."""

    bundle: Path
    engine: str
    precision: str
    shape: tuple[int, int] | None
    """(N, M) of the frames; None: whatever comes."""
    threads: int

    def __str__(self) -> str:
        shape = "" if self.shape is None else f"{self.shape[0]}x{self.shape[1]} "
        return f"{shape}{self.engine} {self.precision}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """How it began."""

    runs_on: str
    """Library and device, as the engine says."""
    warm_up_s: float
    """Loading the library and the graph, and the first run, on noise."""
    first_ms: float
    """The run after that."""
    answer: Estimate
    """Of that run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What it holds; None: cannot be read here."""

    rss_mb: float | None
    """The most of main memory that was its own at a time."""
    gpu_mb: float | None
    """Of GPU memory more in use, by anybody, than before it was opened."""


class Worker:
    """`with Worker(variant, pair, opener) as worker: worker.turn(order)`; its engine is open when it is entered."""

    def __init__(self, variant: Variant, pair: tuple[Frame, Frame], opener: Opener) -> None:
        """`pair`: what is run in turns."""
        self.variant = variant
        self.pair = pair
        self._opener = opener

    def __enter__(self) -> Self:
        """Errors: `UsertError` of the engine that cannot be opened or does not run."""
        context = multiprocessing.get_context("spawn")
        with ExitStack() as stack:
            self._pipe, theirs = context.Pipe()
            stack.callback(self._pipe.close)
            self._process = context.Process(
                target=_main, args=(theirs, self.variant, self.pair, self._opener), daemon=True
            )
            self._process.start()
            stack.callback(self._end)
            theirs.close()
            self.opened: Opened = self._answer()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def turn(self, order: Order) -> Turn:
        """Errors: `UsertError`, as in the engine; `EngineError` when the process has died."""
        turn: Turn = self._ask(partial(_turn, order))
        return turn

    def run(self, reference: Frame, current: Frame) -> Estimate:
        """Another pair, once."""
        estimate: Estimate = self._ask(partial(_run, reference, current))
        return estimate

    def vitals(self) -> Vitals:
        """At this moment."""
        vitals: Vitals = self._ask(_vitals)
        return vitals

    def _ask(self, question: Callable[[_Cast], object]) -> Any:
        try:
            self._pipe.send(question)
        except OSError:
            self._raise_death()
        return self._answer()

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._raise_death()
        if isinstance(answer, UsertError):
            raise answer
        return answer

    def _raise_death(self) -> NoReturn:
        self._process.join(_ENDING_S)
        raise EngineError(f"{self.variant}: its process ended with exit code {self._process.exitcode}")

    def _end(self) -> None:
        self._pipe.close()  # its order to end
        self._process.join(_ENDING_S)
        self._process.kill()
        self._process.join()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cast:
    """What the process has."""

    engine: Engine
    pair: tuple[Frame, Frame]
    gpu_before_mb: float


def _turn(order: Order, cast: _Cast) -> Turn:
    return take_turn(partial(cast.engine.run, *cast.pair, TYPICAL_SCAN), order)


def _run(reference: Frame, current: Frame, cast: _Cast) -> Estimate:
    return cast.engine.run(reference, current, TYPICAL_SCAN)


def _vitals(cast: _Cast) -> Vitals:
    return Vitals(rss_mb=peak_rss_mb(), gpu_mb=gpu_mb_since(cast.gpu_before_mb))


def gpu_mb_since(before_mb: float = 0.0) -> float | None:
    """GPU memory in use by all processes, beyond `before_mb`; None where there is no GPU that tells."""
    gpus = gpu_memory()
    return sum(gpu.used_bytes for gpu in gpus) / 2**20 - before_mb if gpus else None


def peak_rss_mb(pid: int | None = None) -> float | None:
    """The most resident memory that a process, this one if none is named, ever had; None where Linux does not say."""
    try:
        status = Path(f"/proc/{pid or 'self'}/status").read_text(encoding="ascii", errors="replace")
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):  # not Linux
        return None


def _main(pipe: Connection, variant: Variant, pair: tuple[Frame, Frame], opener: Opener) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever holds the other end
    begin = time.monotonic()
    gpu_before_mb = gpu_mb_since() or 0.0
    with ExitStack() as stack:
        try:
            engine = opener(
                Bundle.load(variant.bundle, verify=False),
                engine=variant.engine,
                threads=variant.threads,
                precision=variant.precision,
            )
            stack.callback(engine.close)
            engine.warm_up(variant.shape or pair[0].shape)
            warm = time.monotonic()
            answer = engine.run(*pair, TYPICAL_SCAN)
            opened = Opened(
                runs_on=engine.name,
                warm_up_s=warm - begin,
                first_ms=1e3 * (time.monotonic() - warm),
                answer=answer,
            )
        except UsertError as error:
            pipe.send(error)
            return
        pipe.send(opened)
        cast = _Cast(engine=engine, pair=pair, gpu_before_mb=gpu_before_mb)
        while True:
            try:
                question = pipe.recv()
            except EOFError:
                return
            try:
                pipe.send(question(cast))
            except UsertError as error:
                pipe.send(error)
