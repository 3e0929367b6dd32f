"""The base of engines that run the files of a bundle: ONNX graphs, or plans built from them.

A file is opened when a frame of its shape first comes, and stays open. The contract of a graph: inputs `reference` and
`current`, int16 (N, M), with the front end `baseband` `depths`, float32 (K,), and in a graph that follows `start`,
float32 (3, 32, 8); outputs `displacement` (2, N, M), `strain` and `quality` (N, M), float32. Invariant: outputs have
the shapes of the contract, or an error is raised.

Ownership: `run` and `follow` may be called by as many threads at once, together, as `at_once` allows, `name`, `at_once`
and what ends in `_at` beside them, all else by one thread at a time; two engines share nothing. Frames are only
read, and only until the call returns; returned arrays belong to the caller.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from usert.bundle import Bundle
from usert.bundle.manifest import Graph, Plan
from usert.errors import BundleError, EngineError, FrameError, expect
from usert.frame import Scan, Shape, check_shape
from usert.front_end import TYPICAL, FrontEnd, as_front_end, graph_inputs, grid_rows
from usert.iq import common_sample, rf_rows, rf_scan
from usert.machine import usable_cores

from ..imaging.estimate import Estimate
from .concurrency import checked, chosen
from .graph_choice import by_preference, choose_graph
from .int16 import to_int16
from .interface import noise_pair
from .iq_pair import IqPairs
from .padding import cut, padded

FRAMES = ("reference", "current")
DEPTHS = "depths"
START = "start"
OUTPUTS = ("displacement", "strain", "quality")
MOST_THREADS = 1024
"""Most threads of an engine: with many thousands a library takes minutes, or for ever, before its first image."""
MOST_FINER = 3
"""How many times as many rows as needed IQ is turned up to, so that it fits a graph of one shape."""

Inputs = Sequence[NDArray[Any]]
"""Contiguous arrays: two int16 frames (N, M), with the front end `baseband` float32 depths (K,), and for a graph that
follows a float32 start (3, 32, 8)."""
Session = Callable[[Inputs], Sequence[NDArray[np.float32]]]
"""An open file: a function from its inputs to its three outputs, in order."""
Artefact = TypeVar("Artefact", Graph, Plan)
"""A file that an engine opens, as the manifest describes it."""


class BundleEngine(ABC, Generic[Artefact]):
    """A bundle opened by one library; a subclass chooses the file for a frame, and opens it."""

    preferred: ClassVar[tuple[str, ...]] = ("float32",)
    """Precisions that suit the library, best first; others are used where there is nothing else."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        precision: str | None = None,
        at_once: int | None = 1,
    ) -> None:
        """`threads`: None for one on each core that this process may use. `precision`: None for `preferred`. `at_once`:
        pairs that run at once and share the threads; None: by the size of the frames.
        """
        expect(
            threads is None or 1 <= threads <= MOST_THREADS,
            "threads",
            threads,
            f"1 to {MOST_THREADS}",
            error=EngineError,
        )
        self._bundle = bundle
        self._threads = threads or usable_cores()
        self._at_once = checked(at_once)
        self._precisions = by_preference(precision, self.preferred)
        self._sessions: dict[tuple[str, int], Session] = {}
        """Open files, each by its name and the number of pairs that it runs at once."""
        self._opening = threading.Lock()
        self._iq = IqPairs()
        self._last_fit: dict[tuple[Shape, float | None, bool], tuple[Artefact, Shape]] = {}
        """What was chosen for the shape and sampling of the last pair, without a start and with one."""
        self._closed = False

    @property
    @abstractmethod
    def name(self) -> str:
        """Library and device that really run."""

    @abstractmethod
    def _fit(self, shape: Shape, cycles: float | None) -> tuple[Artefact, Shape]:
        """The file for frames of `shape`, and the shape to pad them to. Errors: `BundleError`."""

    def _fit_to_follow(self, shape: Shape, cycles: float | None) -> tuple[Artefact, Shape]:
        """As `_fit`, of the files that follow."""
        raise BundleError(f"{self.name}: has nothing that follows")

    @abstractmethod
    def _open(self, artefact: Artefact, at_once: int) -> Session:
        """Load one file, for `at_once` pairs at a time. Errors: `EngineError` that names it."""

    def at_once(self, shape: Shape, scan: Scan | None = None) -> int:
        if scan is not None and scan.kind == "iq":
            shape = self._rf_rows(shape, scan), shape[1]
        return chosen(self._at_once, threads=self._threads, shape=shape)

    def strain_window_at(self, scan: Scan) -> int:
        if self._front_end == "baseband":  # whose window counts wavelengths
            return self._bundle.manifest.strain_window_at(scan.cycles_per_sample)
        return round(self._bundle.manifest.strain_window_samples * common_sample(scan))

    @property
    def _front_end(self) -> FrontEnd:
        return as_front_end(self._bundle.manifest.network.front_end, "front end")

    def open_one(self) -> None:
        """Open one file, to check that the engine works. Errors: `EngineError`, `BundleError`."""
        shape = self._bundle.manifest.graphs[0].shape or (2 * self._bundle.manifest.strain_window_samples, 64)
        self._session(self._fit(shape, TYPICAL)[0], shape, ())

    def warm_up(self, shape: tuple[int, int], scan: Scan | None = None) -> None:
        pair = noise_pair(shape, scan)
        for _ in range(self.at_once(shape, scan)):  # each session in turn
            self.run(*pair)

    def run(self, reference: NDArray[Any], current: NDArray[Any], scan: Scan | None = None) -> Estimate:
        return self._run_scan(reference, current, scan, None)

    def _run_scan(
        self,
        reference: NDArray[Any],
        current: NDArray[Any],
        scan: Scan | None,
        start: NDArray[np.float32] | None,
    ) -> Estimate:
        if scan is None or scan.kind == "rf":
            return self._run(reference, current, None if scan is None else scan.cycles_per_sample, start)
        check_shape("reference frame", reference, "iq")
        if self._front_end == "baseband":  # whose window is told in wavelengths, so in rows of the IQ, too
            self._check_length(reference.shape[0], scan.cycles_per_sample)
        rows = self._rf_rows((reference.shape[0], reference.shape[1]), scan)
        run = partial(self._run_scan, start=start)
        return self._iq.run(run, reference, current, scan, rf_rows=rows)

    def _rf_rows(self, shape: Shape, scan: Scan) -> int:
        """Rows to which IQ frames of `shape` (N, M) are turned up: those of a graph of one shape where one fits.

        The front end `rf` wants them as finely sampled as the RF that its weights were trained on.
        """
        if self._front_end == "rf":
            return rf_rows(shape[0], scan, rows_per_cycle=1 / TYPICAL)
        least = rf_rows(shape[0], scan)
        grid = grid_rows(least, scan.cycles_per_sample * shape[0] / least)
        fitting = [
            graph.shape[0]
            for graph in self._bundle.manifest.graphs
            if graph.shape and graph.shape[1] == shape[1] and graph.grid_rows == grid
        ]
        return min((rows for rows in fitting if least <= rows <= MOST_FINER * least), default=least)

    def _check_length(self, rows: int, cycles: float | None) -> int:
        """The length of the strain window in rows of `cycles`. Errors: `FrameError` for frames that are shorter."""
        least = self._bundle.manifest.strain_window_at(cycles)
        if rows < least:
            raise FrameError(
                f"frame: got {rows} samples along depth, expected at least {least}: the strain window"
            )
        return least

    def _run(
        self,
        reference: NDArray[Any],
        current: NDArray[Any],
        cycles: float | None,
        start: NDArray[np.float32] | None,
    ) -> Estimate:
        """Run a pair; `cycles`: centre over sampling frequency, None where the scan is not known.

        With a `start` the file is one that follows.
        """
        if self._closed:
            raise EngineError(f"{self.name}: is closed")
        first, second = to_int16(reference, current)
        shape = first.shape[0], first.shape[1]
        if self._front_end == "baseband" and cycles is not None:
            grid_rows(shape[0], cycles)  # refuses frequencies that cannot be before lengths are made of them
        least = self._check_length(shape[0], cycles)
        follows, last = start is not None, self._last_fit  # which another thread may replace
        if (fit := last.get((shape, cycles, follows))) is None:
            kept = {key: old for key, old in last.items() if key[:2] == (shape, cycles)}
            fit = self._fit_to_follow(shape, cycles) if follows else self._fit(shape, cycles)
            self._last_fit = {**kept, (shape, cycles, follows): fit}
        artefact, room = fit
        if room != shape:
            first, second = padded(first, room), padded(second, room)
        inputs: Inputs = graph_inputs(self._front_end, first, second, cycles)
        if start is not None:
            inputs = (*inputs, start)
        whole: Shape = inputs[0].shape[0], inputs[0].shape[1]
        session = self._session(artefact, shape, inputs)
        try:
            displacement, strain, quality = session(inputs)
        except Exception as error:  # the libraries have no common base for what they raise
            raise EngineError(f"{self.name}: {artefact.file} at {shape}: {first_line(error)}") from error
        for output, got, expected in (
            ("displacement", displacement.shape, (2, *whole)),
            ("strain", strain.shape, whole),
            ("quality", quality.shape, whole),
        ):
            if got != expected:
                raise EngineError(
                    f"{self.name}: {artefact.file}: {output}: got shape {got}, expected {expected}"
                )
        if whole != shape and self._front_end == "baseband":  # lines alone, and no window reaches over them
            displacement, strain, quality = (
                part[..., : shape[1]].copy() for part in (displacement, strain, quality)
            )
        elif whole != shape:
            displacement, strain, quality = cut(
                (displacement, strain, quality),
                shape,
                strain_window=least,
                quality_window=self._bundle.manifest.quality_window,
            )
        return Estimate(displacement=displacement, strain=strain, quality=quality)

    def _inputs(self, artefact: Artefact) -> tuple[str, ...]:
        """Names of the inputs of a file, in order."""
        if artefact in self._bundle.manifest.follow:
            return *FRAMES, DEPTHS, START
        return (*FRAMES, DEPTHS) if self._front_end == "baseband" else FRAMES

    def _session(self, artefact: Artefact, shape: Shape, inputs: Inputs) -> Session:
        """The open session of a file for frames of `shape` (N, M); a library may use that of the `inputs`, if any."""
        key = artefact.file, self.at_once(shape)
        with self._opening:
            if key not in self._sessions:
                self._sessions[key] = self._open(artefact, key[1])
            return self._sessions[key]

    def close(self) -> None:
        self._sessions.clear()
        self._closed = True


class GraphEngine(BundleEngine[Graph]):
    """The ONNX graphs of a bundle opened by one library."""

    def _fit(self, shape: Shape, cycles: float | None) -> tuple[Graph, Shape]:
        rows = grid_rows(shape[0], cycles) if self._front_end == "baseband" and cycles else None
        return choose_graph(self._bundle.manifest.graphs, shape, self._precisions, grid_rows=rows)

    def _fit_to_follow(self, shape: Shape, cycles: float | None) -> tuple[Graph, Shape]:
        rows = grid_rows(shape[0], cycles) if cycles else None
        return choose_graph(self._bundle.manifest.follow, shape, ("float32",), grid_rows=rows)

    def grid_rows_at(self, shape: Shape, scan: Scan) -> int:
        """Rows of the depth grid on which frames of `shape` (N, M) run; for IQ, that of the RF that it is turned up to.

        Errors: `FrameError` for a centre frequency that no grid can be made for.
        """
        rows = shape[0]
        if scan.kind == "iq":
            rows = self._rf_rows(shape, scan)
            scan = rf_scan(scan, shape[0], rows)
        return grid_rows(rows, scan.cycles_per_sample)

    def follow(
        self, reference: NDArray[Any], current: NDArray[Any], scan: Scan, start: NDArray[np.float32]
    ) -> Estimate:
        """Estimate the motion of a pair, as `run`, near `start` (3, 32, 8), which `start_of` makes of another estimate.

        Errors: those of `run`; `BundleError` for a bundle without graphs that follow.
        """
        return self._run_scan(reference, current, scan, start)


def check_contract(engine: str, graph: Graph, got: dict[str, str], expected: dict[str, str]) -> None:
    """Check names and types of a graph's inputs or outputs. Errors: `EngineError` that lists both."""
    if got != expected:
        raise EngineError(f"{engine}: {graph.file}: got {_listed(got)}, expected {_listed(expected)}")


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _listed(nodes: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in nodes.items())
