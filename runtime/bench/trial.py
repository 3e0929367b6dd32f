"""The answers of a benchmark on trial: each against its bundle's float32 graph, run here by another process.

Knows no stage that the answers come from, and times nothing. Invariant: what passes is finite, has the right shapes,
and lies within what the bundle's manifest allows its precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from usert.bundle import Bundle
from usert.errors import BundleError, EngineError, MissingExtraError

from ..engines import ENGINES
from ..imaging.estimate import Estimate
from .answer import Distance, Scene, check_answer, rms
from .row import Accuracy
from .worker import Frame, Opener, Variant, Worker

_JUDGES = ("onnxruntime", *(name for name in reversed(ENGINES) if name != "onnxruntime"))
"""Engines that may run the float32 graph, the plainest first."""
_FLOAT32 = "float32"


class Trial:
    """Of the variants of one shape: a `with` block, at whose end the references' processes are gone."""

    def __init__(
        self, bundles: Sequence[Bundle], scene: Scene, opener: Opener, *, threads: int, keep: bool
    ) -> None:
        """Accuracy is told from the first of `bundles`. `keep`: answers to other pairs than the scene's will come."""
        self._bundles = bundles
        self._scene = scene
        self._opener = opener
        self._threads = threads
        self._keep = keep
        self._judges: dict[Path, Worker] = {}
        self._answers: dict[Path, Estimate] = {}
        self.notes: list[str] = []
        """On answers that cannot be compared."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for bundle in self._bundles:
                own = stack.enter_context(ExitStack())
                judge = self._judge(bundle, own)
                if judge is None:
                    self.notes.append(
                        f"{bundle.folder}: no float32 graph runs here: its answers are not compared"
                    )
                    continue
                self._answers[bundle.folder] = judge.opened.answer
                if self._keep:
                    self._judges[bundle.folder] = judge
                else:
                    own.close()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def check(self, variant: Variant, answer: Estimate, pair: tuple[Frame, Frame]) -> Accuracy:
        """How good an `answer` to `pair` is. Errors: `EngineError` for one that is wrong."""
        bundle = next(bundle for bundle in self._bundles if bundle.folder == variant.bundle)
        check_answer(
            answer,
            pair[0].shape,
            reference=self._reference(bundle, pair),
            allowed=bundle.manifest.tolerances.get(variant.precision, {}),
            precision=variant.precision,
        )
        first = self._reference(self._bundles[0], pair)
        known = pair[0] is self._scene.pair[0] and pair[1] is self._scene.pair[1]
        return Accuracy(
            apart=None if first is None else Distance.between(answer, first),
            truth_samples=rms(answer.displacement[0] - self._scene.truth) if known else None,
        )

    def _reference(self, bundle: Bundle, pair: tuple[Frame, Frame]) -> Estimate | None:
        judge = self._judges.get(bundle.folder)
        return self._answers.get(bundle.folder) if judge is None else judge.run(*pair)

    def _judge(self, bundle: Bundle, own: ExitStack) -> Worker | None:
        """The float32 graph, by the first engine that runs it."""
        for engine in _JUDGES:
            variant = Variant(
                bundle=bundle.folder,
                engine=engine,
                precision=_FLOAT32,
                shape=self._scene.truth.shape,
                threads=self._threads,
            )
            try:
                return own.enter_context(Worker(variant, self._scene.pair, self._opener))
            except BundleError:
                return None
            except (EngineError, MissingExtraError):
                continue
        return None
