"""Runs pairs of a recording through an engine and writes the result file.

Invariants: results are written in the order of the pairs, whichever ends first; in memory are the pairs that the engine
runs at once and one more, whatever the length of the recording.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from usert.bundle import Bundle
from usert.bundle.manifest import Conventions
from usert.errors import FrameError, OptionError
from usert.frame import RFFrame, Scan
from usert.output_file import check_output_file
from usert.quality import readable_mean
from usert.recording import Recording
from usert.strain import axial_strain

from ..engines.concurrency import allowed_at_once
from ..engines.in_order import CallsInOrder
from ..engines.interface import Engine
from ..imaging.estimate import Estimate
from .pairs import LeftOut, Pair, describe_left_out
from .provenance import Origin, library_version
from .result_file import ResultWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReport:
    """Figures of one pair that was estimated."""

    pair: Pair
    mean_strain: float
    """Mean over the readable pixels, as a fraction, compression positive; NaN where there are none."""
    readable_share: float
    """Share of the image that may be read, 0 to 1."""
    median_quality: float
    elapsed_ms: float
    """Time of the engine alone, beside the other pairs that it ran at once; that of the first ones includes opening the
    graph.
    """

    @property
    def figures(self) -> str:
        """Strain and quality in words."""
        return figures_of(self.mean_strain, self.readable_share, self.median_quality)


def figures_of(mean_strain: float, share: float, median_quality: float) -> str:
    """Strain and quality of an image in words; `mean_strain` is of the `share` of it that may be read."""
    strain = "nothing that may be read" if share == 0 else f"mean strain {100 * mean_strain:.2f} %"
    part = f" where readable ({100 * share:.0f} %)" if 0 < share < 0.995 else ""
    return f"{strain}{part}, median quality {median_quality:.2f}"


WORTH_COMPILING = 2**25
"""Samples of a recording's pairs, of one frame each, from which compiling a graph for its shape saves more time than it
takes: 512 pairs of 512 x 128 (`benchmarks/RESULTS.md`)."""
_Started = tuple[Pair, RFFrame]
"""A pair that the engine runs, and its reference frame."""
Observer = Callable[[PairReport, RFFrame, Estimate], None]
"""Called after each pair is stored, with its reference frame and its estimate."""


def estimate_pairs(
    recording: Recording,
    engine: Engine,
    bundle: Bundle | None,
    out: str | os.PathLike[str],
    *,
    pairs: Sequence[Pair],
    made_of: Origin,
    observe: Observer = lambda *_: None,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[tuple[PairReport, ...], tuple[LeftOut, ...]]:
    """Estimate each pair and store it in `out`, which appears when the last is done.

    A pair with a frame that the engine refuses (blank, constant, not finite) is left out, and named in the file.
    Returns the reports of the pairs that were estimated, and the pairs that were left out.

    As many pairs run at once as `engine` allows; the estimates are those of one after the other.

    If anything else goes wrong, Ctrl-C included, what stood at `out` before stays, once the pairs in work have ended.
    `stopped` is asked before each pair and at the end; once it says yes, `KeyboardInterrupt` is raised and nothing is
    written.
    `bundle` is the one that `engine` runs, None if it runs none. `made_of` goes into the file, with the engine that
    really ran, and says over which window strain is taken from the displacement, if not the engine's own.
    Errors: `FrameError` where no pair can be estimated; `OptionError` when `out` cannot be written.
    """
    reports: list[PairReport] = []
    left_out: list[LeftOut] = []
    results = ResultWriter(
        out,
        pairs=pairs,
        shape=recording.shape,
        scan=recording.scan,
        conventions=Conventions() if bundle is None else bundle.manifest.conventions,
    )

    def keep(started: _Started, estimated: Future[tuple[PairReport, Estimate]]) -> None:
        pair, reference = started
        try:
            report, estimate = estimated.result()
        except FrameError as error:
            left_out.append(LeftOut.of(pair, error))
            return
        results.write(len(reports), estimate)
        reports.append(report)
        observe(report, reference, estimate)

    if len(pairs) * recording.shape[0] * recording.shape[1] >= WORTH_COMPILING:
        with suppress(FrameError):  # which each pair says again
            engine.warm_up(recording.shape, recording.scan)
    with results, closing(CallsInOrder(keep)) as calls:
        for pair in pairs:
            if stopped():
                raise KeyboardInterrupt
            reference, current = recording.frame(pair[0]), recording.frame(pair[1])
            run = partial(_estimate, engine, pair, reference, current, made_of)
            at_once = allowed_at_once(engine, recording.shape, recording.scan)
            calls.start((pair, reference), run, at_once=at_once)
        calls.finish()
        if stopped():
            raise KeyboardInterrupt
        if not reports:
            raise FrameError(f"nothing can be estimated of {describe_left_out(left_out)}")
        if left_out:
            results.leave_out(left_out)
        ran = replace(made_of, engine=engine.name, engine_version=library_version(engine.name))
        results.describe(asdict(ran))
    return tuple(reports), tuple(left_out)


def _estimate(
    engine: Engine, pair: Pair, reference: RFFrame, current: RFFrame, made_of: Origin
) -> tuple[PairReport, Estimate]:
    """Run `engine` on a pair, with the strain over the window of `made_of`. Errors: those of the engine."""
    started = time.perf_counter_ns()
    estimate = engine.run(reference.samples, current.samples, reference.scan)
    elapsed_ms = (time.perf_counter_ns() - started) / 1e6
    if made_of.strain_window_mm:
        strain = axial_strain(estimate.displacement[0], made_of.strain_window_samples)
        estimate = replace(estimate, strain=strain)
    mean, share = readable_mean(estimate.strain, estimate.quality)
    report = PairReport(
        pair=pair,
        mean_strain=mean,
        readable_share=share,
        median_quality=float(np.median(estimate.quality)),
        elapsed_ms=elapsed_ms,
    )
    return report, estimate


def check_output(
    path: str | os.PathLike[str], recording: str | os.PathLike[str], *, option: str, suffix: str = ""
) -> None:
    """`check_output_file`, with a line of its own where `path` is the `recording` itself. Errors: `OptionError`."""
    if os.path.exists(path) and os.path.samefile(path, recording):
        raise OptionError(
            f"{option}: got {os.fspath(path)}, which is the recording itself; name another file"
        )
    check_output_file(path, option=option, suffix=suffix)


def extrapolation(bundle: Bundle, scan: Scan) -> str | None:
    """A warning where the bundle's network was not trained for pulses like those of `scan`; else None."""
    trained_for = bundle.manifest.input.trained_for
    if trained_for is None:
        return "the bundle's weights were not trained on RF: trust the quality map"
    if scan.kind == "iq":
        return None  # turned up to four samples a cycle
    low, high = trained_for.centre_cycles_per_sample
    cycles = scan.cycles_per_sample
    if low <= cycles <= high:
        return None
    return f"f0/fs is {cycles:.3f}, the bundle was trained for {low:g} to {high:g}: trust the quality map"


def figure_path(path: str | os.PathLike[str], pair: Pair, first: Pair) -> Path:
    """`path` for the first pair, `NAME-I-J.png` beside it for every other."""
    whole = Path(path)
    return whole if pair == first else whole.with_name(f"{whole.stem}-{pair[0]}-{pair[1]}{whole.suffix}")
