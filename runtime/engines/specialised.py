"""Graphs for any shape, specialised: compiled once more for the one shape of frames that goes on.

Where a library knows every size beforehand it plans its memory and its loops by them, and a pair takes about half of
the time (OpenVINO, `benchmarks/RESULTS.md`). But that takes as long as opening the graph did, which a live server must
not wait for: it runs on with the graph for any shape until the specialised one, compiled in a thread beside it, is
ready.

Knows no library. Invariants: a specialised session runs inputs of its own sizes only; one that cannot be made is told
once, and the graph for any shape runs in its place; sessions of the `MOST_SIZES` sizes wanted last are kept, since each
holds as much memory as the graph itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

from usert.bundle.manifest import Graph
from usert.errors import EngineError
from usert.frame import Shape

MOST_SIZES = 2
"""The one that runs, and the one before: a session of 512 x 128 takes some 500 MB with OpenVINO."""
SETTLED_S = 10.0
"""Time for which frames of one size go on before a graph is compiled beside them: a region of interest that is being
drawn changes every second, and what is being compiled cannot be stopped."""
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
        self._wanted: OrderedDict[Sizes, float | None] = OrderedDict()
        """Sizes to specialise for, the newest last, and since when beside others; None: before anything runs."""
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
        key = _Key(graph.file, at_once, sizes)
        with self._lock:
            if self._beside is not None:
                self._want(sizes, beside=self._beside)
            if (found := self._sessions.get(key)) is not None:
                return found
            if sizes not in self._wanted or key in self._failed or self._closed:
                return None
            since = self._wanted[sizes]
            if since is not None:
                if self._compiling is None and time.monotonic() - since >= self._settled_s:
                    self._compiling = threading.Thread(
                        target=self._beside_others, args=(graph, key), name="compile"
                    )
                    self._compiling.start()
                return None
        self._make(graph, key)
        return self._sessions.get(key)

    def _want(self, sizes: Sizes, *, beside: bool) -> None:
        if sizes not in self._wanted or not beside:
            self._wanted[sizes] = time.monotonic() if beside else None
        self._wanted.move_to_end(sizes)
        while len(self._wanted) > MOST_SIZES:
            dropped, _ = self._wanted.popitem(last=False)
            self._sessions = {key: kept for key, kept in self._sessions.items() if key.sizes != dropped}

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
