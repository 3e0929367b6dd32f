"""`usert run`: strain of a recording's pairs, into a file and a picture."""

from __future__ import annotations

from pathlib import Path

import typer

from usert.commands.engine import HELP, PRECISION_HELP


def run(
    recording: Path = typer.Argument(..., metavar="REC.h5", help="Recording of RF frames."),
    out: Path = typer.Option(..., metavar="OUT.h5", help="File to write; replaced when all pairs are done."),
    pairs: str = typer.Option(
        "consecutive", metavar="consecutive|I:J,…", help="Pairs of frames, reference first, counted from 0."
    ),
    method: str = typer.Option(
        "usert",
        metavar="usert|ncc|glue|glue-smooth",
        help="The bundle's network, or block matching or GLUE to compare with.",
    ),
    bundle: Path | None = typer.Option(None, metavar="DIR", help="Bundle to use instead of the default one."),
    figure: Path | None = typer.Option(
        None,
        metavar="PNG",
        help="Picture of the first pair; each further pair that --pairs lists gets its own, NAME-I-J.png.",
    ),
    strain_window_mm: float | None = typer.Option(
        None, metavar="X", help="Length of the strain's least-squares window, instead of the bundle's own."
    ),
    engine: str = typer.Option("best", metavar="NAME", help=HELP),
    precision: str | None = typer.Option(None, metavar="NAME", help=PRECISION_HELP),
    threads: int | None = typer.Option(
        None, metavar="N", help="Threads of the engine; all cores by default."
    ),
) -> None:
    """Estimate displacement, strain and quality of a recording's pairs.

    Writes /pairs, /displacement, /strain and /quality; ends with a line a pair: mean strain, median quality,
    milliseconds of the engine. Ctrl-C stops after the pair in work and writes nothing.
    """
    from contextlib import closing
    from threading import Event

    from usert.bundle import Bundle, default_bundle_path
    from usert.commands.engine import open_named
    from usert.commands.progress import progress_bar
    from usert.errors import OptionError
    from usert.estimators import ESTIMATORS
    from usert.frame import RFFrame
    from usert.recording import Recording
    from usert.runtime.engine import Estimate
    from usert.runtime.engines import open_classical
    from usert.runtime.figure import save_figure
    from usert.runtime.offline import PairReport, check_output, estimate_pairs, extrapolation, figure_path
    from usert.runtime.pairs import CONSECUTIVE, parse_pairs
    from usert.signals import stop_on_signals

    classical = method != "usert"
    if classical and method not in ESTIMATORS:
        raise OptionError(f"--method: got {method!r}, expected one of usert, {', '.join(ESTIMATORS)}")
    asked = None if engine == "best" else engine
    options = (("--bundle", bundle), ("--engine", asked), ("--precision", precision), ("--threads", threads))
    for option, value in options:
        if classical and value is not None:
            raise OptionError(f"{option}: got {value} with --method {method}, which takes none: leave it out")

    done, stop = 0, Event()
    with Recording(recording) as source:
        check_output(out, recording, option="--out")
        if figure is not None:
            check_output(figure, recording, option="--figure", suffix=".png")
        chosen = parse_pairs(pairs, len(source))
        drawn = chosen[:1] if pairs.strip() == CONSECUTIVE else chosen
        loaded = None if classical else Bundle.load(bundle if bundle is not None else default_bundle_path())
        if loaded is not None and (warning := extrapolation(loaded, source.scan)):
            typer.echo(f"usert: {warning}", err=True)

        progress = progress_bar("strain")

        def observe(report: PairReport, reference: RFFrame, estimate: Estimate) -> None:
            if figure is not None and report.pair in drawn:
                save_figure(
                    figure_path(figure, report.pair, chosen[0]),
                    samples=reference.samples,
                    scan=reference.scan,
                    strain=estimate.strain,
                    quality=estimate.quality,
                    title=f"Frames {report.pair[0]} to {report.pair[1]}: {report.figures}",
                )
            nonlocal done
            done += 1
            progress.update(task, completed=done)

        try:
            with (
                stop_on_signals(stop.set),
                closing(
                    open_classical(method)
                    if loaded is None
                    else open_named(loaded, engine=engine, threads=threads, precision=precision)
                ) as opened,
                progress,
            ):
                task = progress.add_task("strain", total=len(chosen))
                reports = estimate_pairs(
                    source,
                    opened,
                    loaded,
                    out,
                    pairs=chosen,
                    observe=observe,
                    strain_window_mm=strain_window_mm,
                    stopped=stop.is_set,
                )
        except KeyboardInterrupt:
            typer.echo(f"usert: stopped after {done} of {len(chosen)} pairs, {out} not written", err=True)
            raise typer.Exit(130) from None
    for report in reports:
        typer.echo(f"{report.pair[0]}:{report.pair[1]}  {report.figures}, {report.elapsed_ms:.0f} ms")
    typer.echo(f"{len(reports)} pair{'s' if len(reports) > 1 else ''} in {out}")
