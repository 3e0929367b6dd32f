"""`usert run` on one recording.

Knows the terminal; the work is `usert.runtime.offline.run_pairs`. Invariant: a signal before the last pair leaves
nothing there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import typer

from usert.commands.fan_option import Fan
from usert.commands.interrupt import stoppable
from usert.commands.progress import progress_bar
from usert.frame import RFFrame
from usert.recording import Recording
from usert.runtime.engines.concurrency import allowed_at_once
from usert.runtime.imaging.estimate import Estimate
from usert.runtime.offline.figure import figure_page, save_png
from usert.runtime.offline.outputs import make_output
from usert.runtime.offline.pairs import (
    CONSECUTIVE,
    LeftOut,
    Pair,
    counted,
    describe_left_out,
    parse_pairs,
)
from usert.runtime.offline.recipe import Recipe
from usert.runtime.offline.run_folder import Opener
from usert.runtime.offline.run_pairs import (
    Observer,
    PairReport,
    check_output,
    estimate_pairs,
    extrapolation,
    figure_path,
)
from usert.signal_check import check_axes, check_frames, check_motion
from usert.signals import stop_on_signals


@dataclass(frozen=True, slots=True)
class One:
    """One recording, and how to process it."""

    recording: Path
    out: Path
    recipe: Recipe
    opener: Opener

    def run(self, figure: Path | None, fan: Fan | None = None) -> None:
        """Estimate, write the file and, if named, the `figure`, and report; `fan` is the geometry of the figure's
        lines.
        """
        stop = Event()
        with stop_on_signals(stop.set):
            reports, left_out, pace = self._estimate(figure, fan, stop.is_set)
            for report in reports:
                typer.echo(f"{report.pair[0]}:{report.pair[1]}  {report.figures}, {report.elapsed_ms:.0f} ms")
            if left_out:
                typer.echo(f"usert: left out {describe_left_out(left_out)}", err=True)
            missing = f", {len(left_out)} left out" if left_out else ""
            typer.echo(f"{counted(len(reports))} in {self.out}{missing}{pace}")
            self._outputs(stop.is_set)

    def _estimate(
        self, figure: Path | None, fan: Fan | None, stopped: Callable[[], bool]
    ) -> tuple[tuple[PairReport, ...], tuple[LeftOut, ...], str]:
        """The reports, the pairs left out, and how fast it went where several ran at once."""
        with Recording(self.recording) as source:
            check_output(self.out, self.recording, option="--out")
            if figure is not None:
                check_output(figure, self.recording, option="--figure", suffix=".png")
            pairs = parse_pairs(self.recipe.pairs, len(source))
            draw = _drawer(figure, every=self.recipe.pairs != CONSECUTIVE, fan=fan)
            engine, bundle = self.opener()
            if bundle is not None and (warning := extrapolation(bundle, source.scan)):
                typer.echo(f"usert: {warning}", err=True)
            frames = (source.frame(reference).samples for reference, _ in pairs[:3])
            signal = check_frames(frames, source.scan, judged=1)
            if signal.kind == "iq":
                moved_by = dict.fromkeys(number for pair in pairs for number in pair)
                signal = check_axes((source.frame(number).samples for number in moved_by), source.scan)
            pair = (source.frame(k).samples for k in pairs[0])
            moved = check_motion(pair, source.scan) if signal.kind == "iq" else ""
            for line in filter(None, (signal.line if signal.judged else "", moved)):
                typer.echo(f"usert: {self.recording}: {line}", err=True)
            progress = progress_bar("strain")
            done_s: list[float] = []

            def observe(report: PairReport, reference: RFFrame, estimate: Estimate) -> None:
                draw(report, reference, estimate)
                done_s.append(time.monotonic())
                progress.update(task, completed=len(done_s))

            with (
                stoppable(lambda: f" after {len(done_s)} of {len(pairs)} pairs, {self.out} not written"),
                closing(engine),
                progress,
            ):
                task = progress.add_task("strain", total=len(pairs))
                reports, left_out = estimate_pairs(
                    source,
                    engine,
                    bundle,
                    self.out,
                    pairs=pairs,
                    observe=observe,
                    made_of=self.recipe.origin(
                        source,
                        called=str(self.recording),
                        engine=engine,
                        engine_name=engine.name,
                        bundle=bundle,
                    ),
                    stopped=stopped,
                )
                at_once = allowed_at_once(engine, source.shape, source.scan)
                return reports, left_out, _pace(done_s, at_once)

    def _outputs(self, stopped: Callable[[], bool]) -> None:
        """The result stands already; a signal leaves it and the files that are complete."""
        for kind in self.recipe.also:
            with stoppable(f", {self.out} is complete and {kind} was not made"):
                made = make_output(
                    kind,
                    recording=self.recording,
                    result=self.out,
                    dicom_like=self.recipe.dicom_like,
                    stopped=stopped,
                )
            typer.echo(f"{kind} in {made}")


def _pace(done_s: Sequence[float], at_once: int) -> str:
    """Time a pair where several ran at once, of which each took longer; `done_s`: when each was written."""
    if at_once == 1 or len(done_s) <= at_once:
        return ""
    return f", {at_once} at once: {1e3 * (done_s[-1] - done_s[0]) / (len(done_s) - 1):.0f} ms a pair"


def _drawer(figure: Path | None, *, every: bool, fan: Fan | None) -> Observer:
    """Draws the first pair that is estimated, or `every` one, the first of them into `figure`, if there is one."""
    first: Pair | None = None

    def draw(report: PairReport, reference: RFFrame, estimate: Estimate) -> None:
        nonlocal first
        first = first or report.pair
        if figure is not None and (every or report.pair == first):
            scan = reference.scan if fan is None else fan.over(reference.scan, reference.shape[1])
            page = figure_page(
                samples=reference.signal,
                scan=scan,
                strain=estimate.strain,
                quality=estimate.quality,
                title=f"Frames {report.pair[0]} to {report.pair[1]}: {report.figures}",
            )
            save_png(page, figure_path(figure, report.pair, first))

    return draw
