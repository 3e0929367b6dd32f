"""What an engine answers in a benchmark, held against another answer and against the truth.

Knows the simulated scanner and estimates; opens no engine. Invariant: a figure that is no number fits no tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from usert.errors import EngineError
from usert.frame import RFFrame
from usert.phantom.scanner import ScannerConfig, SimulatedScanner

from ..imaging.estimate import Estimate

STEEP = 9, 13
"""First and last of the frames: one pair of the gate that every bundle passed, about 1 % of strain apart."""
_SEED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Frames of one shape in which everything moves, and the truth between the first and the last."""

    frames: tuple[RFFrame, ...]
    truth: NDArray[np.float32]
    """(N, M): axial displacement in samples."""

    @classmethod
    def of(cls, shape: tuple[int, int]) -> Scene:
        """Takes seconds for large frames. Errors: `OptionError` for a shape that the scanner does not take."""
        scanner = SimulatedScanner(ScannerConfig(shape=shape), seed=_SEED)
        frames = tuple(scanner.frame(k) for k in range(STEEP[0], STEEP[1] + 1))
        return cls(frames=frames, truth=scanner.truth(*STEEP)[0])

    @property
    def pair(self) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """The first and the last frame."""
        return self.frames[0].samples, self.frames[-1].samples

    @property
    def to_and_fro(self) -> tuple[RFFrame, ...]:
        """One period of an endless stream."""
        return self.frames + self.frames[-2:0:-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """Of one answer from another; the names are those of a manifest's tolerances."""

    max_abs_displacement_samples: float
    rms_displacement_samples: float
    max_abs_strain: float
    rms_strain_percent: float
    max_abs_quality: float

    @classmethod
    def between(cls, a: Estimate, b: Estimate) -> Distance:
        """Of estimates of one shape."""
        displacement, strain = a.displacement - b.displacement, a.strain - b.strain
        return cls(
            max_abs_displacement_samples=float(np.abs(displacement).max()),
            rms_displacement_samples=rms(displacement),
            max_abs_strain=float(np.abs(strain).max()),
            rms_strain_percent=100 * rms(strain),
            max_abs_quality=float(np.abs(a.quality - b.quality).max()),
        )


def check_answer(
    answer: Estimate,
    shape: tuple[int, int],
    *,
    reference: Estimate | None,
    allowed: Mapping[str, float] = MappingProxyType({}),
    precision: str = "",
) -> None:
    """Finite numbers, of the shapes that belong to frames of `shape`, no further from `reference` than `allowed`.

    Errors: `EngineError` for what is amiss, in a line.
    """
    for name, values, expected in (
        ("displacement", answer.displacement, (2, *shape)),
        ("strain", answer.strain, shape),
        ("quality", answer.quality, shape),
    ):
        if values.shape != expected:
            raise EngineError(f"wrong answer: {name}: got shape {values.shape}, expected {expected}")
        if not (finite := np.isfinite(values)).all():
            bad = finite.size - int(np.count_nonzero(finite))
            raise EngineError(f"wrong answer: {name}: {bad} of {finite.size} numbers are NaN or infinite")
    if reference is None:
        return
    for figure, value in asdict(Distance.between(answer, reference)).items():
        if figure in allowed and not value <= allowed[figure]:
            raise EngineError(
                f"wrong answer: {figure}: got {value:.2g} from the float32 reference, "
                f"{precision} allows {allowed[figure]:.2g}{_where(figure, answer, reference, allowed[figure])}"
            )


def _where(figure: str, answer: Estimate, reference: Estimate, limit: float) -> str:
    """How many pixels are to blame for a largest difference; nothing for a mean one."""
    if not figure.startswith("max_abs_"):
        return ""
    name = figure.removeprefix("max_abs_").removesuffix("_samples")
    apart = np.abs(getattr(answer, name) - getattr(reference, name))
    return f" (at {np.count_nonzero(apart > limit)} of {apart.size} numbers)"


def rms(values: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
