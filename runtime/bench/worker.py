"""One engine at one shape in a process of its own, which runs on request.

Each engine has a process, so that memory and processor time can be told apart and waiting threads of one library do not
slow another. Invariant: the process ends with the `with` block, and a `UsertError` raised in it is raised again here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from usert.bundle import Bundle
from usert.errors import UsertError
from usert.frame import RFFrame, Scan

from ..engines.concurrency import pairs_at_once
from ..engines.following import FollowingEngine
from ..engines.interface import TYPICAL_SCAN, Engine
from ..imaging.estimate import Estimate
from ..monitor.gpu_memory import gpu_memory
from .live_session import LiveSession
from .process import PipedProcess
from .workload import Measurement, Workload, run_workload

T = TypeVar("T")
Frame = NDArray[np.int16]
Opener = Callable[..., Engine]
"""A function such as `usert.runtime.engines.open_engine`, importable by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One combination that is measured."""

    bundle: Path
    engine: str
    precision: str
    shape: tuple[int, int] | None
    """(N, M) of the frames, of IQ that of the RF that it was; None: that of the frames received."""
    threads: int
    at_once: int | None = None
    """Pairs that run at once and share the threads; None: by the size of the frames."""
    iq: int | None = None
    """Of IQ: one sample of so many; None: RF."""
    follow: bool = False
    """Whether images start from the motion of those before."""

    def __str__(self) -> str:
        return f"{self.frames} {self.engine} {self.precision}".lstrip()

    @property
    def frames(self) -> str:
        """Shape and kind of the frames; empty where they are not known."""
        shape = "" if self.shape is None else f"{self.shape[0]}x{self.shape[1]}"
        return shape if self.iq is None else f"{shape} IQ/{self.iq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Times and first estimate of a variant that was opened."""

    runs_on: str
    """Library and device, by the engine's name."""
    warm_up_s: float
    """Time to load the library and the graph, and to run once on noise."""
    first_ms: float
    """Time of the run after that."""
    answer: Estimate
    """Result of that run."""
    at_once: int = 1
    """Pairs that run at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory that a variant holds; None where it cannot be read."""

    rss_mb: float | None
    """Peak resident memory of the process."""
    gpu_mb: float | None
    """GPU memory in use by all processes, above what was in use before the variant was opened."""


class Worker(PipedProcess):
    """An engine in another process: `with Worker(variant, pair, opener) as worker: worker.measure(workload)`."""

    def __init__(
        self,
        variant: Variant,
        pair: tuple[Frame, Frame],
        opener: Opener,
        scan: Scan = TYPICAL_SCAN,
        *,
        frames: Sequence[RFFrame] = (),
    ) -> None:
        """`pair`: reference and current frame of `scan` that every run is of, (N, M), or IQ (N, M, 2).

        `frames`: one period of the stream that a variant which follows is measured on; others are not sent it.
        """
        super().__init__(variant, _main, variant, pair, opener, scan, frames if variant.follow else ())
        self.variant = variant
        self.pair = pair

    def _open(self, stack: ExitStack) -> None:
        """Start the process and open the engine. Errors: `UsertError` where it cannot be opened or does not run."""
        super()._open(stack)
        self.opened: Opened = self._answer()

    def measure(self, workload: Workload) -> Measurement:
        """Run `workload` in the process. Errors: those of the engine; `EngineError` when the process has died."""
        return self._ask(partial(_measure, workload))

    def run(self, reference: Frame, current: Frame) -> Estimate:
        """Run another pair once."""
        return self._ask(partial(_run, reference, current))

    def memory(self) -> Memory:
        """Memory in use now."""
        return self._ask(_memory)

    def _ask(self, question: Callable[[_Held], T]) -> T:
        self._send(question)
        answer: T = self._answer()
        return answer

    def _answer(self) -> Any:
        answer = self._receive()
        if isinstance(answer, UsertError):
            raise answer
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """The state of the process."""

    engine: Engine
    pair: tuple[Frame, Frame]
    scan: Scan
    session: LiveSession | None
    gpu_before_mb: float


def _measure(workload: Workload, held: _Held) -> Measurement:
    reference, current = held.pair
    at_once = pairs_at_once(held.engine, reference.shape[:2], held.scan)
    if held.session is not None:
        measurement = run_workload(held.session.run, workload, at_once=at_once)
        return replace(measurement, followed=held.session.followed())
    return run_workload(
        lambda: held.engine.run(reference, current.copy(), held.scan),  # a new frame
        workload,
        at_once=at_once,
    )


def _run(reference: Frame, current: Frame, held: _Held) -> Estimate:
    return held.engine.run(reference, current, held.scan)


def _memory(held: _Held) -> Memory:
    return Memory(rss_mb=resident_mb(peak=True), gpu_mb=gpu_mb_since(held.gpu_before_mb))


def gpu_mb_since(before_mb: float = 0.0) -> float | None:
    """GPU memory in use by all processes, above `before_mb`; None where no GPU reports it."""
    gpus = gpu_memory()
    return sum(gpu.used_bytes for gpu in gpus) / 2**20 - before_mb if gpus else None


def resident_mb(pid: int | None = None, *, peak: bool = False) -> float | None:
    """Resident memory of the process `pid`, None for this one; None where the system does not report it."""
    try:
        status = Path(f"/proc/{pid or 'self'}/status").read_text(encoding="ascii", errors="replace")
        name = "VmHWM" if peak else "VmRSS"
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(name))
    except (OSError, StopIteration):  # not Linux
        return None


def _main(
    pipe: Connection,
    variant: Variant,
    pair: tuple[Frame, Frame],
    opener: Opener,
    scan: Scan,
    frames: Sequence[RFFrame],
) -> None:
    begin = time.monotonic()
    gpu_before_mb = gpu_mb_since() or 0.0
    with ExitStack() as stack:
        try:
            engine = opener(
                Bundle.load(variant.bundle, verify=False),
                engine=variant.engine,
                threads=variant.threads,
                precision=variant.precision,
                at_once=variant.at_once,
            )
            stack.callback(engine.close)
            session = None
            if variant.follow:
                engine = following = FollowingEngine(engine)
                session = LiveSession(following, frames)
            engine.warm_up(pair[0].shape[:2], scan)
            warm = time.monotonic()
            answer = engine.run(*pair, scan)
            opened = Opened(
                runs_on=engine.name,
                warm_up_s=warm - begin,
                first_ms=1e3 * (time.monotonic() - warm),
                answer=answer,
                at_once=pairs_at_once(engine, pair[0].shape[:2], scan),
            )
        except UsertError as error:
            pipe.send(error)
            return
        pipe.send(opened)
        held = _Held(engine=engine, pair=pair, scan=scan, session=session, gpu_before_mb=gpu_before_mb)
        while True:
            try:
                question = pipe.recv()
            except EOFError:
                return
            try:
                pipe.send(question(held))
            except UsertError as error:
                pipe.send(error)
