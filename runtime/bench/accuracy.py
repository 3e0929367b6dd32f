"""Accuracy in a benchmark: estimates compared with the float32 graph of their bundle and with the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from usert.bundle import Bundle
from usert.errors import BundleError, EngineError, MissingExtraError
from usert.frame import RFFrame, Scan
from usert.iq import as_iq, decimated_motion
from usert.phantom.scanner import ScannerConfig, SimulatedScanner

from ..engines import ENGINES
from ..imaging.estimate import Estimate
from ..transport.lifecycle import Service
from .worker import Frame, Opener, Variant, Worker

STEEP = 9, 13
"""Numbers of the first and the last frame: a pair of the gate that every bundle passed, with about 1 % of strain."""
_SEED = 7
_REFERENCE_ENGINES = ("onnxruntime", *(name for name in reversed(ENGINES) if name != "onnxruntime"))
"""Engines that may run the float32 graph, the plainest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Frames of one shape in which everything moves, and the truth between the first and the last."""

    frames: tuple[RFFrame, ...]
    truth: NDArray[np.float32]
    """(N, M): axial displacement in samples."""

    @classmethod
    def of(cls, shape: tuple[int, int], iq: int | None = None) -> Scene:
        """Simulate frames of `shape` (N, M), which takes seconds for large ones; with `iq` one sample of so many, of
        IQ. Errors: `OptionError`."""
        scanner = SimulatedScanner(ScannerConfig(shape=shape), seed=_SEED)
        frames = tuple(scanner.frame(k) for k in range(STEEP[0], STEEP[1] + 1))
        truth = scanner.truth(*STEEP)
        if iq is not None:
            frames = tuple(as_iq(frame, frame.scan.f0_hz, iq) for frame in frames)
            truth = decimated_motion(truth, iq)
        return cls(frames=frames, truth=truth[0])

    @property
    def pair(self) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """The first and the last frame."""
        return self.frames[0].samples, self.frames[-1].samples

    @property
    def scan(self) -> Scan:
        """Geometry and frequencies of the frames."""
        return self.frames[0].scan

    @property
    def to_and_fro(self) -> tuple[RFFrame, ...]:
        """All frames forwards and backwards: one period of an endless stream."""
        return self.frames + self.frames[-2:0:-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Difference between two estimates; the names are those of a manifest's tolerances."""

    max_abs_displacement_samples: float
    rms_displacement_samples: float
    max_abs_strain: float
    rms_strain_percent: float
    max_abs_quality: float

    @classmethod
    def between(cls, a: Estimate, b: Estimate) -> Difference:
        """Difference between two estimates of one shape."""
        displacement, strain = a.displacement - b.displacement, a.strain - b.strain
        return cls(
            max_abs_displacement_samples=float(np.abs(displacement).max()),
            rms_displacement_samples=rms(displacement),
            max_abs_strain=float(np.abs(strain).max()),
            rms_strain_percent=100 * rms(strain),
            max_abs_quality=float(np.abs(a.quality - b.quality).max()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Accuracy of an estimate that passed the check."""

    difference: Difference | None
    """Difference from the float32 graph of the first bundle; None where there is no such graph."""
    truth_samples: float | None
    """RMS error of the axial displacement in samples; None where the frames are not simulated."""


class AccuracyCheck(Service):
    """Checks estimates of the variants of one shape; its reference engines run until the end of the `with` block."""

    def __init__(
        self, bundles: Sequence[Bundle], scene: Scene, opener: Opener, *, threads: int, keep: bool
    ) -> None:
        """`bundles`: the first of them is the one that accuracy is measured against. `keep`: keep the reference
        engines open, since estimates of other pairs than the scene's will be checked."""
        super().__init__()
        self._bundles = bundles
        self._scene = scene
        self._opener = opener
        self._threads = threads
        self._keep = keep
        self._references: dict[Path, Worker] = {}
        self._answers: dict[Path, Estimate] = {}
        self.notes: list[str] = []
        """Lines about bundles whose estimates cannot be compared."""

    def _open(self, stack: ExitStack) -> None:
        for bundle in self._bundles:
            own = stack.enter_context(ExitStack())
            reference = self._open_reference(bundle, own)
            if reference is None:
                self.notes.append(
                    f"{bundle.folder}: no float32 graph runs here: its answers are not compared"
                )
                continue
            self._answers[bundle.folder] = reference.opened.answer
            if self._keep:
                self._references[bundle.folder] = reference
            else:
                own.close()

    def check(self, variant: Variant, answer: Estimate, pair: tuple[Frame, Frame]) -> Accuracy:
        """Accuracy of the estimate `answer` of `pair`. Errors: `EngineError` for a wrong one."""
        bundle = next(bundle for bundle in self._bundles if bundle.folder == variant.bundle)
        check_answer(
            answer,
            pair[0].shape[:2],
            reference=self._reference(bundle, pair),
            allowed=bundle.manifest.tolerances.get(variant.precision, {}),
            precision=variant.precision,
        )
        first = self._reference(self._bundles[0], pair)
        known = pair[0] is self._scene.pair[0] and pair[1] is self._scene.pair[1]
        return Accuracy(
            difference=None if first is None else Difference.between(answer, first),
            truth_samples=rms(answer.displacement[0] - self._scene.truth) if known else None,
        )

    def _reference(self, bundle: Bundle, pair: tuple[Frame, Frame]) -> Estimate | None:
        reference = self._references.get(bundle.folder)
        return self._answers.get(bundle.folder) if reference is None else reference.run(*pair)

    def _open_reference(self, bundle: Bundle, own: ExitStack) -> Worker | None:
        """The float32 graph in the first engine that runs it; None where none does."""
        for engine in _REFERENCE_ENGINES:
            variant = Variant(
                bundle=bundle.folder,
                engine=engine,
                precision="float32",
                shape=self._scene.truth.shape,
                threads=self._threads,
            )
            try:
                return own.enter_context(Worker(variant, self._scene.pair, self._opener, self._scene.scan))
            except BundleError:
                return None
            except (EngineError, MissingExtraError):
                continue
        return None


def check_answer(
    answer: Estimate,
    shape: tuple[int, int],
    *,
    reference: Estimate | None,
    allowed: Mapping[str, float] = MappingProxyType({}),
    precision: str = "",
) -> None:
    """Check that an estimate is finite, of the right shapes for frames of `shape`, and within `allowed` of `reference`.

    Errors: `EngineError` that says what is wrong.
    """
    if fault := answer.fault(shape):
        raise EngineError(f"wrong answer: {fault}")
    if reference is None:
        return
    for figure, value in asdict(Difference.between(answer, reference)).items():
        if figure in allowed and not value <= allowed[figure]:
            raise EngineError(
                f"wrong answer: {figure}: got {value:.2g} from the float32 reference, "
                f"{precision} allows {allowed[figure]:.2g}{_where(figure, answer, reference, allowed[figure])}"
            )


def _where(figure: str, answer: Estimate, reference: Estimate, limit: float) -> str:
    """How many numbers exceed the limit of a largest difference; empty for the limit of a mean."""
    if not figure.startswith("max_abs_"):
        return ""
    name = figure.removeprefix("max_abs_").removesuffix("_samples")
    apart = np.abs(getattr(answer, name) - getattr(reference, name))
    return f" (at {np.count_nonzero(apart > limit)} of {apart.size} numbers)"


def rms(values: NDArray[np.floating]) -> float:
    """Root mean square of `values`, in their unit."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
