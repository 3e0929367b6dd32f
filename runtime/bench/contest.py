"""A benchmark of engines: opened, checked, then timed in turns, side by side.

Variants of one shape are open at the same time and take turns, round after round, so that what else the machine does
falls on all of them alike. Knows variants and their order; how a turn goes is its stage's affair. Invariant: no variant
is timed before its answer was found right, and none that is wrong or fails has times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from usert.bundle import Bundle
from usert.bundle.manifest import PRECISIONS
from usert.errors import BundleError, EngineError, MissingExtraError, OptionError, UsertError
from usert.machine import describe_machine, load_warning, usable_cores

from ..engines import ENGINES, REFERENCE
from ..engines.choice import choose_graph
from .answer import Scene, check_answer
from .config import BenchConfig
from .monitor import SilentError
from .rates import better, cpu_rates
from .roofline import Cost, Rates, graph_cost
from .row import Accuracy, Result, Row, mode, row_of
from .trial import Trial
from .turn import Turn
from .wire import WireStage
from .worker import Opener, Variant, Worker

Shape = tuple[int, int]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a benchmark found."""

    mode: str
    machine: dict[str, Any]
    rates: Rates
    """Of the CPU."""
    rows: list[Row]
    absent: dict[str, str]
    """Why an engine, or one of its precisions, was not timed."""
    notes: list[str]
    """What else whoever reads the rows must know."""


@dataclass(slots=True)
class _Entry:
    """A variant that is open, and its turns so far."""

    stage: Worker | WireStage
    accuracy: Accuracy | None = None
    turns: list[Turn] = field(default_factory=list)
    error: str | None = None


class Bench:
    """`Bench(config, opener, say).run()`."""

    def __init__(
        self,
        config: BenchConfig,
        opener: Opener,
        say: Say,
        *,
        measure_rates: Callable[[int], Rates] = cpu_rates,
    ) -> None:
        """`opener`: as `usert.runtime.engines.open_engine`; `say` is told, in lines, what goes on.

        `measure_rates`: of the CPU with so many threads, again after each shape: the best counts.
        """
        self._config = config
        self._opener = opener
        self._say = say
        self._measure_rates = measure_rates
        self._threads = config.threads or usable_cores()
        self._notes: dict[str, None] = {}
        self._absent: dict[str, str] = {}
        self._costs: dict[tuple[str, Shape], Cost | None] = {}

    def run(self) -> Report:
        """Errors: `UsertError` for a bundle that is none, an engine that was named and does not work here, a shape that
        nothing runs, a scanner that is silent."""
        config = self._config
        bundles = [Bundle.load(folder) for folder in config.bundles]
        shapes = self._shapes(bundles)
        found = describe_machine()
        if told := load_warning(found):
            self._note(told)
        rates = self._measure_rates(self._threads)
        results: list[Result] = []
        for shape in shapes:
            results += self._results(bundles, shape)
            rates = better(rates, self._measure_rates(self._threads))
        return Report(
            mode=mode(config.order, wire=config.wire),
            machine=found,
            rates=rates,
            rows=[row_of(self._with_rates(r, rates), config.order, wire=config.wire) for r in results],
            absent=self._absent,
            notes=list(self._notes),
        )

    def _shapes(self, bundles: Sequence[Bundle]) -> Sequence[Shape | None]:
        if self._config.rf is not None:
            return [None]
        own = [
            graph.shape for bundle in bundles for graph in bundle.manifest.graphs if graph.shape is not None
        ]
        shapes = self._config.shapes or tuple(dict.fromkeys(sorted(own)))
        if not shapes:
            raise OptionError("--shape: got none, and the bundle has graphs for any shape only: name one")
        return shapes

    def _variants(self, bundles: Sequence[Bundle], shape: Shape | None) -> Iterator[tuple[Bundle, Variant]]:
        for bundle in bundles:
            there = {graph.precision for graph in bundle.manifest.graphs}
            for engine in self._config.engines or ENGINES:
                for precision in self._config.precisions or sorted(there, key=PRECISIONS.index):
                    if engine == REFERENCE and precision != "float32":
                        continue
                    yield (
                        bundle,
                        Variant(
                            bundle=bundle.folder,
                            engine=engine,
                            precision=precision,
                            shape=shape,
                            threads=self._threads,
                        ),
                    )

    def _results(self, bundles: Sequence[Bundle], shape: Shape | None) -> list[Result]:
        """Of all variants of one shape; a scanner of the user's has them one at a time."""
        variants = list(self._variants(bundles, shape))
        if shape is None:
            found = [result for one in variants for result in self._group(bundles, [one], None)]
        else:
            self._say(f"{shape[0]}x{shape[1]}: simulating frames")
            found = self._group(bundles, variants, Scene.of(shape))
        if not found:
            told = "; ".join([*(f"{name}: {why}" for name, why in self._absent.items()), *self._notes])
            raise EngineError(f"bench: got no engine that runs here: {told or 'none was asked for'}")
        return found

    def _group(
        self, bundles: Sequence[Bundle], variants: Sequence[tuple[Bundle, Variant]], scene: Scene | None
    ) -> list[Result]:
        """Opened, checked and timed together."""
        config = self._config
        with ExitStack() as stack:
            trial: Trial | None = None
            if scene is not None:
                trial = Trial(bundles, scene, self._opener, threads=self._threads, keep=config.wire)
                stack.enter_context(trial)
                for note in trial.notes:
                    self._note(note)
            entries: list[_Entry] = []
            for bundle, variant in variants:
                stage = self._opened(stack, bundle, variant, scene)
                if stage is not None:
                    entries.append(self._checked(stage, trial))
            for turn in range(config.rounds if entries else 0):
                self._say(f"round {turn + 1} of {config.rounds}")
                for entry in entries:
                    self._turn(entry)
            return [self._result(entry) for entry in entries]

    def _opened(
        self, stack: ExitStack, bundle: Bundle, variant: Variant, scene: Scene | None
    ) -> Worker | WireStage | None:
        """What runs `variant`; None, noted, where it cannot run here and nobody named it."""
        if variant.engine in self._absent:
            return None
        try:
            stage = self._stage(bundle, variant, scene)
            stack.enter_context(stage)
            return stage
        except SilentError:
            raise
        except BundleError as error:
            self._note(f"{variant}: left out: {error}")
        except (MissingExtraError, EngineError) as error:
            if self._config.engines:
                raise
            missing = isinstance(error, MissingExtraError)
            self._absent[variant.engine if missing else f"{variant.engine} {variant.precision}"] = str(error)
            self._say(f"{variant}: not here: {error}")
        return None

    def _stage(self, bundle: Bundle, variant: Variant, scene: Scene | None) -> Worker | WireStage:
        """Not open yet. Errors: `BundleError` for frames that no graph takes."""
        config = self._config
        if variant.shape is not None and variant.engine != REFERENCE:
            choose_graph(bundle.manifest.graphs, variant.shape, (variant.precision,))
        if scene is not None and not config.wire:
            return Worker(variant, scene.pair, self._opener)
        return WireStage(
            variant,
            frames=() if scene is None else scene.to_and_fro,
            rf=config.rf,
            insecure=config.insecure,
            every_frame=config.every_frame,
            patience_s=config.patience_s,
        )

    def _checked(self, stage: Worker | WireStage, trial: Trial | None) -> _Entry:
        """With its error, where the answer is wrong."""
        entry, answer = _Entry(stage), stage.opened.answer
        try:
            if trial is not None and stage.pair is not None:
                entry.accuracy = trial.check(stage.variant, answer, stage.pair)
            else:
                check_answer(answer, answer.strain.shape, reference=None)
            self._say(f"{stage.variant}: right, after {stage.opened.warm_up_s:.1f} s")
        except EngineError as error:
            entry.error = str(error)
            self._say(f"{stage.variant}: {error}")
        return entry

    def _turn(self, entry: _Entry) -> None:
        if entry.error is not None:
            return
        try:
            entry.turns.append(entry.stage.turn(self._config.order))
        except UsertError as error:
            if self._config.wire:
                raise
            entry.error = str(error)

    def _result(self, entry: _Entry) -> Result:
        stage = entry.stage
        vitals = None
        if entry.error is None:
            vitals = stage.vitals()
        if isinstance(stage, WireStage) and not stage.ages_exact:
            self._note("ages are lower bounds: the source has another clock")
        return Result(
            variant=stage.variant,
            opened=stage.opened,
            turns=entry.turns,
            vitals=vitals,
            accuracy=entry.accuracy,
            cost=self._cost(stage.variant),
            error=entry.error,
        )

    def _cost(self, variant: Variant) -> Cost | None:
        """Of the graph that runs; None, noted, where it cannot be counted."""
        bundle = Bundle.load(variant.bundle, verify=False)
        assert variant.shape is not None
        try:
            graph, whole = choose_graph(bundle.manifest.graphs, variant.shape, (variant.precision,))
            path = bundle.path_of(graph)
            if (str(path), whole) not in self._costs:
                self._costs[str(path), whole] = graph_cost(path, whole)
            return self._costs[str(path), whole]
        except (BundleError, EngineError, MissingExtraError) as error:
            self._note(f"no floor: {error}")
            return None

    def _with_rates(self, result: Result, rates: Rates) -> Result:
        on_cpu = result.opened is not None and "cpu" in result.opened.runs_on.lower()
        return replace(result, rates=rates if on_cpu else self._config.gpu_rates)

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes[text] = None
            self._say(text)
