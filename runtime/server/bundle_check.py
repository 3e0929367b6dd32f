"""The check of another engine on a pair of frames, beside what the running engine made of the same pair."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usert.errors import BundleError
from usert.frame import Scan, Shape

from ..engines.interface import TYPICAL_SCAN, Engine
from ..imaging.estimate import Estimate
from ..imaging.image_quality import ImageQualityRule, assess

_EVIDENT_STRAIN = 3e-4
"""Evident strain of both estimates from which their signs must agree; a resting hand gives up to .0004."""
_REMEDY = "keep the running one, or fine-tune and export again"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPair:
    """A recent good pair, and the running engine's estimate of it; its arrays are not written to any more."""

    reference: NDArray[Any]
    current: NDArray[Any]
    """(N, M), as `reference`."""
    scan: Scan
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleCheck:
    """Figures of the two engines on one pair."""

    score: float
    running_score: float
    mean_strain: float
    """Mean over the readable pixels, a fraction, compression positive; the same of the running engine below."""
    running_mean_strain: float
    milliseconds: float
    """Time of one run of the new engine, beside the running one."""


def check_engine(
    engine: Engine, trial: TrialPair, *, quality_rule: ImageQualityRule, held_score: float
) -> BundleCheck:
    """Run `engine` on the pair; `held_score` as in `StateRule`. Errors: `BundleError`, and those of the engine."""
    begin = time.perf_counter()
    got = engine.run(trial.reference, trial.current, trial.scan)
    elapsed = time.perf_counter() - begin
    _check_finite(got, trial.reference.shape)
    new, running = (assess(estimate, quality_rule) for estimate in (got, trial.estimate))
    if new.score < held_score <= running.score:
        raise BundleError(
            f"refused: frame score: got {new.score:.2f} where the running one has {running.score:.2f}, expected "
            f"{held_score:g} or more; {_REMEDY}"
        )
    evident = min(new.evident_strain, running.evident_strain) > _EVIDENT_STRAIN
    if evident and new.readable_strain * running.readable_strain < 0:
        raise BundleError(
            f"refused: mean strain: got {100 * new.readable_strain:+.2f} % where the running one has "
            f"{100 * running.readable_strain:+.2f} %, expected the same sign; {_REMEDY}"
        )
    return BundleCheck(
        score=new.score,
        running_score=running.score,
        mean_strain=new.readable_strain,
        running_mean_strain=running.readable_strain,
        milliseconds=1e3 * elapsed,
    )


def run_noise(engine: Engine, shape: Shape) -> None:
    """Run `engine` on noise of `shape`, where there is no pair. Errors: as `check_engine`."""
    reference, current = np.random.default_rng(0).integers(-1000, 1000, (2, *shape), dtype=np.int16)
    _check_finite(engine.run(reference, current, TYPICAL_SCAN), shape)


def _check_finite(estimate: Estimate, shape: tuple[int, ...]) -> None:
    for name, expected in (("displacement", (2, *shape)), ("strain", shape), ("quality", shape)):
        values: NDArray[Any] = getattr(estimate, name)
        if values.shape != expected:
            raise BundleError(f"refused: {name}: got shape {values.shape}, expected {expected}; {_REMEDY}")
        if not (finite := np.isfinite(values)).all():
            amiss = finite.size - int(np.count_nonzero(finite))
            raise BundleError(
                f"refused: {name}: got {amiss} of {finite.size} values that are NaN or infinite, expected none; "
                f"{_REMEDY}"
            )
