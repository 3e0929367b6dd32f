"""Re-runs a record: the engine estimates each image again from its frames, and the results are compared bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from usert.errors import FrameError, RecordingError

from ..engines.concurrency import allowed_at_once
from ..engines.in_order import CallsInOrder
from ..engines.interface import Engine
from ..imaging.estimate import Estimate
from .contents import Record, hash_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An array of an image that differs from the record."""

    image: int
    """Number of the image in the record, from 0."""
    reference: int
    current: int
    """Sequence numbers of the two frames."""
    array: str
    largest: float | None
    """Largest difference of a value; None where only a hash was recorded."""

    def __str__(self) -> str:
        by = "its hash differs" if self.largest is None else f"by up to {self.largest:.3g}"
        return f"image {self.image} (frames {self.reference}, {self.current}): {self.array} differs, {by}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunReport:
    """The comparison of all images of a record."""

    compared: int
    identical: int
    without_frames: int
    """Images with a frame that the record lacks."""
    first: Difference | None
    largest: float
    """Largest difference of any value of any array."""
    engines: frozenset[tuple[str, str]]
    """Pairs of the engine that made an image live and the engine of the re-run."""

    def __str__(self) -> str:
        lacking = f"; {self.without_frames} whose frames are not on record" if self.without_frames else ""
        if not self.compared:
            return f"no image to compare{lacking}"
        if self.first is None:
            return f"{self.identical} of {self.compared} images identical, bit for bit{lacking}"
        return (
            f"{self.identical} of {self.compared} images identical, bit for bit{lacking}; first, {self.first}; "
            f"largest difference {self.largest:.3g}"
        )


Observer = Callable[[int], None]
"""Called after each image with the number of those done."""


def rerun(
    record: Record,
    engine: Engine,
    *,
    observe: Observer = lambda done: None,
    stopped: Callable[[], bool] = lambda: False,
) -> RerunReport:
    """Run the pairs of `record` through `engine`, as many at once as it allows, and compare.

    `stopped` is asked after each image; once it says yes, `KeyboardInterrupt` is raised.
    Errors: `RecordingError` for frames that the engine refuses, `EngineError` when it fails.
    """
    compared = identical = without_frames = done = 0
    first: Difference | None = None
    largest = 0.0
    engines: set[tuple[str, str]] = set()

    def compare(k: int, estimated: Future[Estimate]) -> None:
        nonlocal compared, identical, first, largest, done
        try:
            estimate = estimated.result()
        except FrameError as error:
            raise RecordingError(f"{record.recording.path}: image {k}: {error}") from error
        engines.add((record.images[k]["engine"].decode(), engine.name))
        differences = _compare(record, k, estimate)
        compared += 1
        identical += not differences
        first = first or next(iter(differences), None)
        largest = max([largest, *(each.largest for each in differences if each.largest is not None)])
        done += 1
        observe(done)

    with closing(CallsInOrder(compare)) as calls:
        for k, row in enumerate(record.images):
            reference, current = record.frame(int(row["reference"])), record.frame(int(row["current"]))
            if reference is None or current is None:
                without_frames += 1
                done += 1
                observe(done)
            else:
                run = partial(engine.run, reference.samples, current.samples, reference.scan)
                at_once = allowed_at_once(engine, reference.shape, reference.scan)
                calls.start(k, run, at_once=at_once)
            if stopped():
                raise KeyboardInterrupt
        calls.finish()
        if stopped():
            raise KeyboardInterrupt
    return RerunReport(
        compared=compared,
        identical=identical,
        without_frames=without_frames,
        first=first,
        largest=largest,
        engines=frozenset(engines),
    )


def _compare(record: Record, k: int, estimate: Estimate) -> list[Difference]:
    """The arrays that differ: strain, quality, and displacement or its hash."""
    row, found = record.images[k], list[tuple[str, float | None]]()
    for name in ("strain", "quality", "displacement"):
        again: NDArray[np.float32] = getattr(estimate, name)
        if name != "displacement" or record.has_displacement:
            recorded = record.array(name, k)
            if not np.array_equal(_bits(again), _bits(recorded)):
                found.append((name, float(np.nanmax(np.abs(again - recorded), initial=0.0))))
        elif hash_of(again).encode() != row["displacement_sha256"]:
            found.append((name, None))
    reference, current = int(row["reference"]), int(row["current"])
    return [
        Difference(image=k, reference=reference, current=current, array=name, largest=largest)
        for name, largest in found
    ]


def _bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    return np.ascontiguousarray(values).view(np.uint32)
