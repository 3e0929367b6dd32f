"""A benchmark of engines: opens them, checks their estimates, then times them in interleaved runs.

Variants of one shape are open at the same time and are measured in turn, round after round, so that what else the
machine does affects all of them alike. Invariant: no variant is timed before its estimate has passed the check, and
none that fails has times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from usert.bundle import Bundle
from usert.bundle.manifest import PRECISIONS
from usert.errors import BundleError, EngineError, MissingExtraError, OptionError, UsertError
from usert.frame import Shape
from usert.machine import describe_machine, load_warning, usable_cores

from ..engines import ENGINES, REFERENCE
from ..engines.following import check_follows
from .accuracy import Accuracy, AccuracyCheck, Scene, check_answer
from .config import HOLD_S, BenchConfig
from .critical_rate import CriticalRate, CriticalSearch
from .live_server import LiveServer
from .monitor_client import SilentError
from .rates import better, cpu_rates
from .result import Report, Result, mode, to_row
from .roofline import Cost, Rates
from .variant_graph import cost_of, graphs_of
from .worker import Opener, Variant, Worker
from .workload import Measurement

Log = Callable[[str], None]
_Stage: TypeAlias = Worker | LiveServer


@dataclass(slots=True)
class _Entry:
    """An open variant and its measurements so far."""

    stage: _Stage
    accuracy: Accuracy | None = None
    measurements: list[Measurement] = field(default_factory=list)
    search: CriticalSearch | None = None
    critical: CriticalRate | None = None
    error: str | None = None

    @property
    def done(self) -> bool:
        """Whether further rounds would tell nothing."""
        return self.error is not None or (self.search is not None and self.search.decided)


class Benchmark:
    """Runs a benchmark: `Benchmark(config, opener, log).run()`."""

    def __init__(
        self,
        config: BenchConfig,
        opener: Opener,
        log: Log,
        *,
        measure_rates: Callable[[int], Rates] = cpu_rates,
    ) -> None:
        """`opener`: such as `usert.runtime.engines.open_engine`; `log` is called with lines of progress.

        `measure_rates`: measures the peak rates of the CPU with a number of threads; called again after each shape,
        and the best result counts.
        """
        self._config = config
        self._opener = opener
        self._log = log
        self._measure_rates = measure_rates
        self._threads = config.threads or usable_cores()
        self._notes: dict[str, None] = {}
        self._absent: dict[str, str] = {}
        self._silent: list[Result] = []

    def run(self) -> Report:
        """Measure all variants.

        Errors: `UsertError` for an invalid bundle, a named engine that does not work here, a shape that no engine
        runs, a scanner that sends nothing.
        """
        config = self._config
        self._bundles = {bundle.folder: bundle for bundle in map(Bundle.load, config.bundles)}
        for bundle in self._bundles.values() if config.follow else ():
            check_follows(bundle)
        shapes = self._shapes()
        found = describe_machine()
        if told := load_warning(found):
            self._note(told)
        rates = self._measure_rates(self._threads)
        results: list[Result] = []
        for shape in shapes:
            results += self._results(shape)
            rates = better(rates, self._measure_rates(self._threads))
        return Report(
            mode=mode(config.workload, wire=config.wire, critical=config.critical),
            machine=found,
            rates=rates,
            rows=[
                to_row(self._with_rates(result, rates), config.workload, wire=config.wire)
                for result in (*results, *self._silent)
            ],
            absent=self._absent,
            notes=list(self._notes),
        )

    def _shapes(self) -> Sequence[Shape | None]:
        if self._config.rf is not None:
            return [None]
        graphs = [graph for bundle in self._bundles.values() for graph in bundle.manifest.graphs]
        shapes = self._config.shapes or sorted({graph.shape for graph in graphs if graph.shape is not None})
        if not shapes:
            raise OptionError("--shape: got none, and the bundle has graphs for any shape only: name one")
        return shapes

    def _variants(self, shape: Shape | None) -> Iterator[Variant]:
        for folder, bundle in self._bundles.items():
            there = {graph.precision for graph in bundle.manifest.graphs}
            for engine in self._config.engines or ENGINES:
                for precision in self._config.precisions or sorted(there, key=PRECISIONS.index):
                    if engine != REFERENCE or precision != "int8":
                        yield Variant(
                            bundle=folder,
                            engine=engine,
                            precision=precision,
                            shape=shape,
                            threads=self._threads,
                            at_once=self._config.pairs_at_once,
                            iq=self._config.iq,
                            follow=self._config.follow,
                        )

    def _results(self, shape: Shape | None) -> list[Result]:
        """Results of all variants of one shape; with the user's own scanner one variant is open at a time."""
        variants = list(self._variants(shape))
        if shape is None:
            found = [result for one in variants for result in self._group([one], None)]
        else:
            self._log(f"{shape[0]}x{shape[1]}: simulating frames")
            found = self._group(variants, Scene.of(shape, self._config.iq))
        if not (found or self._silent):
            told = "; ".join([*(f"{name}: {why}" for name, why in self._absent.items()), *self._notes])
            raise EngineError(f"bench: got no engine that runs here: {told or 'none was asked for'}")
        return found

    def _group(self, variants: Sequence[Variant], scene: Scene | None) -> list[Result]:
        config = self._config
        with ExitStack() as stack:
            check: AccuracyCheck | None = None
            if scene is not None:
                bundles = tuple(self._bundles.values())
                check = AccuracyCheck(bundles, scene, self._opener, threads=self._threads, keep=config.wire)
                stack.enter_context(check)
                for note in check.notes:
                    self._note(note)
            entries: list[_Entry] = []
            for variant in variants:
                stage = self._opened(stack, variant, scene)
                if stage is not None:
                    entries.append(self._checked(stage, check, scene))
            for number in range(config.rounds if entries else 0):
                self._log(f"round {number + 1} of {config.rounds}")
                for entry in entries:
                    self._measure(entry)
                if all(entry.done for entry in entries):
                    break
            for entry in entries if config.critical else ():
                self._confirm(entry)
            return [self._result(entry) for entry in entries]

    def _opened(
        self, stack: ExitStack, variant: Variant, scene: Scene | None, *, again: bool = False
    ) -> _Stage | None:
        """The open worker or server of `variant`; None, with a note, where it cannot run here and was not named.

        A search for a rate starts a server that gives no image once more, and goes on with the other variants.
        """
        if variant.engine in self._absent:
            return None
        try:
            stage = self._stage(variant, scene)
            stack.enter_context(stage)
            return stage
        except SilentError as error:
            if not self._config.critical:
                raise
            self._log(f"{variant}: {error}")
            if not again:
                return self._opened(stack, variant, scene, again=True)
            self._silent.append(Result(variant=variant, error=str(error)))
        except BundleError as error:
            self._note(f"{variant}: left out: {error}")
        except (MissingExtraError, EngineError) as error:
            if self._config.engines:
                raise
            missing = isinstance(error, MissingExtraError)
            self._absent[variant.engine if missing else f"{variant.engine} {variant.precision}"] = str(error)
            self._log(f"{variant}: not here: {error}")
        return None

    def _stage(self, variant: Variant, scene: Scene | None) -> _Stage:
        """The worker or server of `variant`, not open yet. Errors: `BundleError` for frames that no graph takes."""
        config = self._config
        if variant.shape is not None and variant.engine != REFERENCE:
            graphs_of(self._bundles[variant.bundle], variant, variant.shape)
        if scene is not None and not config.wire:
            return self._worker(variant, scene)
        return LiveServer(
            variant,
            frames=() if scene is None else scene.to_and_fro,
            rf=config.rf,
            insecure=config.insecure,
            every_frame=config.every_frame,
            patience_s=config.patience_s,
        )

    def _worker(self, variant: Variant, scene: Scene) -> Worker:
        return Worker(variant, scene.pair, self._opener, scene.scan, frames=scene.to_and_fro)

    def _checked(self, stage: _Stage, check: AccuracyCheck | None, scene: Scene | None) -> _Entry:
        """The entry of an open variant, with an error where its estimate from nothing is wrong."""
        entry, answer, pair = _Entry(stage), stage.opened.answer, stage.pair
        try:
            if scene is not None and stage.variant.follow and isinstance(stage, LiveServer):
                with self._worker(replace(stage.variant, follow=False), scene) as worker:
                    answer, pair = worker.opened.answer, worker.pair
            if check is not None and pair is not None:
                entry.accuracy = check.check(stage.variant, answer, pair)
            else:
                check_answer(answer, answer.strain.shape, reference=None)
            self._log(f"{stage.variant}: right, after {stage.opened.warm_up_s:.1f} s")
            if self._config.critical:
                entry.search = CriticalSearch(
                    stage,
                    self._config.workload,
                    trials=self._config.rounds,
                    limit_ms=self._config.limit_ms,
                    hold_s=self._config.hold_s or HOLD_S,
                )
        except EngineError as error:
            entry.error = str(error)
            self._log(f"{stage.variant}: {error}")
        return entry

    def _measure(self, entry: _Entry) -> None:
        if entry.done:
            return
        if entry.search is not None:
            self._log(f"{entry.stage.variant}: {entry.search.trial()}")
            return
        try:
            entry.measurements.append(entry.stage.measure(self._config.workload))
        except UsertError as error:
            if self._config.wire:
                raise
            entry.error = str(error)

    def _confirm(self, entry: _Entry) -> None:
        if entry.search is not None:
            self._log(f"{entry.stage.variant}: confirming")
            entry.critical = entry.search.confirm()
            entry.measurements = [] if entry.critical.run is None else [entry.critical.run]

    def _result(self, entry: _Entry) -> Result:
        stage = entry.stage
        if isinstance(stage, LiveServer) and not stage.ages_exact:
            self._note("ages are lower bounds: the source has another clock")
        return Result(
            variant=stage.variant,
            opened=stage.opened,
            measurements=entry.measurements,
            memory=stage.memory() if entry.error is None else None,
            accuracy=entry.accuracy,
            critical=entry.critical,
            cost=self._cost(stage.variant),
            error=entry.error,
        )

    def _cost(self, variant: Variant) -> Cost | None:
        """Cost of the graph that runs; None, with a note, where it cannot be counted."""
        assert variant.shape is not None
        try:
            return cost_of(self._bundles[variant.bundle], variant, variant.shape)
        except (BundleError, EngineError, MissingExtraError) as error:
            self._note(f"no floor: {error}")
            return None

    def _with_rates(self, result: Result, rates: Rates) -> Result:
        on_cpu = result.opened is not None and "cpu" in result.opened.runs_on.lower()
        return replace(result, rates=rates if on_cpu else self._config.gpu_rates)

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes[text] = None
            self._log(text)
