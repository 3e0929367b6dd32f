"""Graphs for any shape, specialised: compiled once more for the one shape of frames that goes on.

Where a library knows every size beforehand it plans its memory and its loops by them, and a pair takes half to two
thirds of the time (OpenVINO, `benchmarks/RESULTS.md`). But that takes as long as opening the graph did, which a live
server must not wait for: it runs on with the graph for any shape until the specialised one, compiled in a thread beside
it, is ready.

Knows no library. Invariants: a specialised session runs inputs of its own sizes only; one that cannot be made is told
once, and the graph for any shape runs in its place; there are sessions of `MOST_SIZES` sizes at most, since each holds
as much memory as the graph itself. Those unused the longest make room.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from usert.bundle.manifest import Graph
from usert.errors import EngineError
from usert.frame import Shape

MOST_SIZES = 2
"""The one that runs, and the one before: a session of 512 x 128 takes some 500 MB with OpenVINO."""
SETTLED_S = 10.0
"""Time for which frames of one size go on before a graph is compiled beside them: a region of interest that is being
drawn changes every second, and what is being compiled cannot be stopped. For as long others were unused whose place is
taken by a size that comes again."""
THREAD = "compile"
"""Name of the thread that compiles; it outlives the engine where that is closed meanwhile."""
Session = TypeVar("Session")
log = logging.getLogger(__name__)


class Sizes(NamedTuple):
    """Sizes of the inputs of a graph."""

    shape: Shape
    """(N, M) of both frames, lines padded as the graph wants them."""
    grid_rows: int | None
    """Rows of the depth grid; None with a front end that has none."""

    def __str__(self) -> str:
        return "x".join(map(str, self.shape))


class _Key(NamedTuple):
    file: str
    at_once: int
    sizes: Sizes


@dataclass(slots=True)
class _Wanted:
    since: float | None
    """When it was wanted beside what runs; None: before anything runs."""
    used: float


def compiling() -> bool:
    """Whether a graph is being compiled beside what runs, for which the end of the process would wait.

    Also of an engine that is closed.
    """
    return any(thread.name == THREAD for thread in threading.enumerate())


class SpecialisedGraphs(Generic[Session]):
    """The specialised sessions of one engine.

    Ownership: `session` is for any thread, `wanted` for one at a time, while no other asks for a session.
    """

    def __init__(
        self, compile_: Callable[[Graph, int, Sizes], Session], *, settled_s: float | None = None
    ) -> None:
        """`compile_`: opens a graph for a number of pairs at once and sizes; raises `EngineError`."""
        self._compile = compile_
        self._settled_s = SETTLED_S if settled_s is None else settled_s
        self._lock = threading.Lock()
        self._sessions: dict[_Key, Session] = {}
        self._failed: set[_Key] = set()
        self._wanted: dict[Sizes, _Wanted] = {}
        self._made_room: set[Sizes] = set()
        """Sizes that were wanted once, and whose place others took."""
        self._beside: bool | None = None
        """What is to become of the sizes that are met now: whether compiled beside; None: nothing new."""
        self._compiling: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def wanted(self, *, beside: bool) -> Iterator[None]:
        """Specialise for the sizes that `session` meets in the block: from now on, or with `beside` in a thread."""
        self._beside = beside
        try:
            yield
        finally:
            self._beside = None

    def session(self, graph: Graph, at_once: int, sizes: Sizes) -> Session | None:
        """The specialised session of a graph for any shape; None where there is none, or none yet."""
        key, now = _Key(graph.file, at_once, sizes), time.monotonic()
        with self._lock:
            if self._beside is not None and (sizes not in self._wanted or not self._beside):
                self._want(sizes, _Wanted(now if self._beside else None, now))
            elif sizes in self._made_room and now - self._longest_unused().used >= self._settled_s:
                self._want(sizes, _Wanted(now, now))
            if (wanted := self._wanted.get(sizes)) is None:
                return None
            wanted.used = now
            if (found := self._sessions.get(key)) is not None:
                return found
            if key in self._failed or self._closed:
                return None
            if wanted.since is not None:
                if self._compiling is None and now - wanted.since >= self._settled_s:
                    self._compiling = threading.Thread(
                        target=self._beside_others, args=(graph, key), name=THREAD
                    )
                    self._compiling.start()
                return None
        self._make(graph, key)
        return self._sessions.get(key)

    def _longest_unused(self) -> _Wanted:
        return min(self._wanted.values(), key=lambda one: one.used)

    def _want(self, sizes: Sizes, wanted: _Wanted) -> None:
        if sizes not in self._wanted and len(self._wanted) == MOST_SIZES:
            unused = self._longest_unused()
            (dropped,) = [each for each, one in self._wanted.items() if one is unused]
            del self._wanted[dropped]
            self._made_room.add(dropped)
            self._sessions = {key: kept for key, kept in self._sessions.items() if key.sizes != dropped}
        self._wanted[sizes] = wanted
        self._made_room.discard(sizes)

    def _beside_others(self, graph: Graph, key: _Key) -> None:
        begin = time.monotonic()
        log.info("%s: compiling it for %s beside the images, which will be faster then", key.file, key.sizes)
        try:
            self._make(graph, key)
        finally:
            self._compiling = None
        if key in self._sessions:
            log.info("%s: runs for %s after %.0f s", key.file, key.sizes, time.monotonic() - begin)

    def _make(self, graph: Graph, key: _Key) -> None:
        try:
            made = self._compile(graph, key.at_once, key.sizes)
        except EngineError as error:
            if self._closed:
                return
            self._failed.add(key)
            log.warning("%s: not compiled for %s, and slower: %s", key.file, key.sizes, error)
            return
        with self._lock:
            if key.sizes in self._wanted and not self._closed:
                self._sessions[key] = made

    def close(self) -> None:
        """Forget the sessions, and one that is being compiled when it is ready; idempotent."""
        with self._lock:
            self._sessions.clear()
            self._closed = True
