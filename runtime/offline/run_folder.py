"""Runs a folder of recordings through one engine.

A result is written beside its final name and renamed (`result_file`); an existing result of the same origin is kept.
Invariant: the failure of one recording is an `Outcome` and does not stop the others; only results are ever replaced.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np

from usert.bundle import Bundle
from usert.errors import OptionError, RecordingError, UsertError
from usert.output_file import check_output_folder
from usert.recording import Recording

from ..engines.interface import Engine, FrameFormat, noise_pair
from .outputs import is_current, make_output
from .pairs import describe_left_out, parse_pairs
from .provenance import Origin
from .recipe import Recipe
from .result_file import ResultReader
from .run_pairs import PairReport, estimate_pairs, extrapolation

State = Literal["done", "kept", "refused", "failed"]
Opener = Callable[[], tuple[Engine, Bundle | None]]
"""Opens the engine, and the bundle if it runs one; Ray pickles it: a function of a module, or a `partial` of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One recording to run."""

    name: str
    """Path of the recording relative to the folder, with slashes."""
    recording: str
    out: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one recording."""

    name: str
    state: State
    """`done` now; `kept` as it was; `refused`, since a result of another origin exists; or `failed`."""
    told: str
    warning: str = ""
    left_out: int = 0
    """Pairs of the result that could not be estimated."""


def find_jobs(folder: str | os.PathLike[str], out: str | os.PathLike[str]) -> tuple[Job, ...]:
    """A job for every `*.h5` beneath `folder`, sorted, with the same path beneath `out`; hidden files are left out.

    Errors: `OptionError` for an invalid `out`, `RecordingError` where there is no recording.
    """
    source, target = Path(folder).absolute(), Path(out).absolute()
    check_output_folder(out, option="--out")
    if target.resolve().is_relative_to(source.resolve()):
        raise OptionError(
            f"--out: got {out}, inside {folder}: results would be taken for recordings; name another"
        )
    paths = sorted(path.relative_to(source) for path in source.rglob("*.h5") if path.is_file())
    jobs = tuple(
        Job(name=path.as_posix(), recording=str(source / path), out=str(target / path))
        for path in paths
        if not any(part.startswith(".") for part in path.parts)
    )
    if not jobs:
        raise RecordingError(f"{folder}: no recording (*.h5) beneath it")
    return jobs


class ArchiveWorker:
    """Runs jobs with an open engine, from construction until the end of the `with` block. Use it in one thread."""

    def __init__(
        self, opener: Opener, recipe: Recipe, *, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        """`stopped` is called between pairs; once it returns True, `work` raises `KeyboardInterrupt`."""
        self._engine, self._bundle = opener()
        self._recipe = recipe
        self._stopped = stopped
        self._names: dict[FrameFormat, str] = {}

    def work(self, job: Job) -> Outcome:
        """Run one recording, or keep its result."""
        try:
            return self._work(job)
        except UsertError as error:
            return Outcome(name=job.name, state="failed", told=str(error))
        except Exception as error:  # the other recordings are worth more than this one's traceback
            traceback.print_exc()
            told = " ".join(f"{type(error).__name__}: {error}".split())
            return Outcome(name=job.name, state="failed", told=f"this is a bug: {told}")

    def _work(self, job: Job) -> Outcome:
        begun = time.monotonic()
        with Recording(job.recording) as source:
            made_of = self._origin(job, source)
            if Path(job.out).exists():
                difference, left_out = _difference(job.out, made_of)
                if difference is None:
                    told = self._outputs(job) or "is done already"
                    return Outcome(name=job.name, state="kept", told=told, left_out=left_out)
                if not self._recipe.overwrite:
                    told = f"{job.out} is of another run: {difference}; --overwrite makes it anew"
                    return Outcome(name=job.name, state="refused", told=told)
            _make_folder(Path(job.out).parent)
            reports, missing = estimate_pairs(
                source,
                self._engine,
                self._bundle,
                job.out,
                pairs=parse_pairs(self._recipe.pairs, len(source)),
                made_of=made_of,
                stopped=self._stopped,
            )
            warnings = [f"left out {describe_left_out(missing)}"] if missing else []
            if self._bundle is not None and (outside := extrapolation(self._bundle, source.scan)):
                warnings.append(outside)
        self._outputs(job)
        told = f"{_summary(reports)}, {time.monotonic() - begun:.1f} s"
        return Outcome(
            name=job.name, state="done", told=told, warning="; ".join(warnings), left_out=len(missing)
        )

    def _origin(self, job: Job, source: Recording) -> Origin:
        frames = FrameFormat.of(source.shape, source.scan)
        if frames not in self._names:
            if self._bundle is not None:  # only what ran says which of the engines takes such frames
                self._engine.run(*noise_pair(*frames))
            self._names[frames] = self._engine.name
        return self._recipe.origin(
            source,
            called=job.name,
            engine=self._engine,
            engine_name=self._names[frames],
            bundle=self._bundle,
        )

    def _outputs(self, job: Job) -> str:
        """Make the missing outputs, and return which they were."""
        missing = [kind for kind in self._recipe.also if not is_current(job.out, kind)]
        for kind in missing:
            make_output(
                kind,
                recording=job.recording,
                result=job.out,
                dicom_like=self._recipe.dicom_like,
                stopped=self._stopped,
            )
        return f"was done already, {' and '.join(missing)} added" if missing else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()


def _difference(out: str, made_of: Origin) -> tuple[str | None, int]:
    """The difference of the result `out` from `made_of`, and how many pairs it leaves out.

    Errors: `RecordingError` for a file that is not a result.
    """
    try:
        with ResultReader(out) as stored:
            return made_of.difference(stored.attributes), len(stored.left_out)
    except RecordingError as error:
        raise RecordingError(f"{error}; it is not replaced: move it away") from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make the folder {folder}: {error.strerror}") from error


def _summary(reports: Sequence[PairReport]) -> str:
    strains = np.array([report.mean_strain for report in reports])
    span = (
        f"{100 * np.nanmin(strains):.2f} to {100 * np.nanmax(strains):.2f} %"
        if np.isfinite(strains).any()
        else "none"
    )
    quality = float(np.median([report.median_quality for report in reports]))
    return f"{len(reports)} pair{'s' if len(reports) > 1 else ''}, mean strain {span}, median quality {quality:.2f}"
