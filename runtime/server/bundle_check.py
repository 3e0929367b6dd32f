"""The check of another engine on a pair of frames, beside what the running engine made of the same pair."""

from __future__ import annotations

import time
from dataclasses import dataclass

from usert.errors import BundleError

from ..engines.interface import Engine, FrameFormat, noise_pair
from ..imaging.estimate import Estimate, EstimatedPair
from ..imaging.image_quality import ImageQualityRule, assess

_EVIDENT_STRAIN = 3e-4
"""Evident strain of both estimates from which their signs must agree; a resting hand gives up to .0004."""
_REMEDY = "keep the running one, or fine-tune and export again"


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
    engine: Engine, trial: EstimatedPair, *, quality_rule: ImageQualityRule, held_score: float
) -> BundleCheck:
    """Run `engine` on a recent good pair of the running engine; `held_score` as in `HoldRule`.

    Errors: those of the engine; `BundleError` for an estimate that is not finite, that would not be shown, or whose
    strain has the other sign.
    """
    first, second = trial.reference.frame, trial.current.frame
    begin = time.perf_counter()
    got = engine.run(first.samples, second.samples, first.scan)
    elapsed = time.perf_counter() - begin
    _check_finite(got, first.shape)
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


def run_noise(engine: Engine, frames: FrameFormat) -> None:
    """Run `engine` on noise, where there is no pair. Errors: as `check_engine`."""
    _check_finite(engine.run(*noise_pair(*frames)), frames.shape)


def _check_finite(estimate: Estimate, shape: tuple[int, ...]) -> None:
    if fault := estimate.fault(shape):
        raise BundleError(f"refused: {fault}; {_REMEDY}")
