"""`usert eval`: how accurate methods are on recordings, as one HTML report.

Knows the options only; the work is that of `usert.evaluation`. Invariant: the report is there whole or not at all.
"""

from __future__ import annotations

from pathlib import Path

import typer

from usert.commands.engine import ENGINE, PRECISION
from usert.commands.interrupt import interrupt, stoppable
from usert.commands.option import option

_WINDOW = "ROWS,LINES"


def evaluation(
    inputs: list[Path] = typer.Argument(
        ..., metavar="REC.h5|PAIRS.toml…", help="Recordings, or files that name pairs and where to look."
    ),
    out: Path = option(..., "HTML", "The report: one file, which needs no network."),
    method: list[str] = option(
        ["usert", "ncc", "glue"],
        "usert|ncc|glue|glue-smooth",
        "May be repeated: the default bundle's network, block matching, GLUE.",
    ),
    bundle: list[str] = option(
        [], "[NAME=]DIR", "A bundle as one more method: a folder, or small; may be repeated."
    ),
    weights: list[str] = option(
        [],
        "NAME=FILE[,REFINEMENT[,LEVEL]]",
        "A weights file as one more method, by torch: off, cheap or full refinement, levels down to 2, 3 or 4.",
    ),
    pairs: str | None = option(
        None,
        "I:J,…|consecutive",
        "Pairs of every recording, reference first, from 0; chosen as for training if not given.",
    ),
    count: int = option(4, "N", "Pairs of a recording at most, where they are chosen.", min=1),
    target: str | None = option(None, _WINDOW, "Window of the lesion, such as 1230:1450,170:212: CNR, SR."),
    background: str | None = option(None, _WINDOW, "Window beside it: CNR, SR."),
    homogeneous: str | None = option(None, _WINDOW, "Window of one stiffness: SNRe."),
    still: str | None = option(None, _WINDOW, "Window where hardly anything moves."),
    strain_window_mm: float | None = option(
        None, "X", "Length of the strain's least-squares window, instead of the default bundle's."
    ),
    engine: str = ENGINE,
    precision: str | None = PRECISION,
    threads: int | None = option(None, "N", "Threads of each network; all cores by default."),
    json_file: Path | None = option(None, "FILE", "All of it as JSON.", "--json"),
    markdown: Path | None = option(None, "FILE", "The tables as Markdown."),
) -> None:
    """Compare methods on pairs of frames, with and without known truth.

    Strain is taken from every displacement in the same way. A recording that `usert simulate` wrote holds the truth.
    What is done goes to stderr; Ctrl-C writes nothing.
    """
    import shlex
    import sys
    from contextlib import ExitStack
    from datetime import UTC, datetime

    from usert.bundle import Bundle, default_bundle_path
    from usert.commands.engine import open_named
    from usert.errors import OptionError
    from usert.evaluation.evaluate import Result, evaluate
    from usert.evaluation.markdown import cell
    from usert.evaluation.methods import open_methods
    from usert.evaluation.page import page
    from usert.evaluation.planning import Look, plan
    from usert.evaluation.report import Report, hashes, save, to_json, to_markdown, told
    from usert.machine import describe_machine
    from usert.output_file import check_output_file
    from usert.signals import stop_on_signals

    check_output_file(out, option="--out", suffix=".html")
    for flag, path in (("--json", json_file), ("--markdown", markdown)):
        if path is not None:
            check_output_file(path, option=flag)
    written = [path.resolve() for path in (out, json_file, markdown) if path is not None]
    default_window = Bundle.load(default_bundle_path(), verify=False).manifest.strain_window_samples
    look = Look(
        target=target,
        background=background,
        homogeneous=homogeneous,
        still=still,
        strain_window_mm=strain_window_mm,
    )
    done = total = 0

    def observe(result: Result) -> None:
        nonlocal done
        done += 1
        figures = ", ".join(f"{name} {cell(value)}" for name, value in result.figures.items())
        typer.echo(
            f"eval: {done} of {total}: {result.table}, {result.pair}, {result.method}: {figures}", err=True
        )

    with (
        stoppable(lambda: f" after {done} of {total}, {out} not written"),
        stop_on_signals(interrupt),
        ExitStack() as stack,
    ):
        tables, left_out = plan(inputs, pairs=pairs, count=count, look=look)
        for table in tables:
            table.check(default_window)
        read = [Path(pair.recording).resolve() for table in tables for pair in table.pairs]
        read += [path.resolve() for path in inputs]
        if double := [path for path in written if path in read or written.count(path) > 1]:
            raise OptionError(
                f"got {double[0]} twice, expected a name of its own for each file that is written"
            )
        methods = open_methods(
            method,
            bundles=bundle,
            weights=weights,
            open_bundle=lambda loaded: open_named(
                loaded, engine=engine, threads=threads, precision=precision
            ),
            threads=threads,
            stack=stack,
        )
        total = len(methods) * sum(len(table.pairs) for table in tables)
        found = evaluate(tables, methods, default_window=default_window, observe=observe)
        left_out += tuple(line for table in found for line in table.left_out)
        report = Report(
            tables=tuple(table for table in found if table.pairs),
            methods=told(methods),
            left_out=left_out,
            sha256=hashes(found),
            default_window=default_window,
            command=shlex.join(["usert", *sys.argv[1:]]),
            machine=describe_machine(),
            made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
        for path, text in ((json_file, to_json), (markdown, to_markdown), (out, page)):
            if path is not None:
                save(path, text(report) + ("" if text is page else "\n"))
    for line in left_out:
        typer.echo(line, err=True)
    typer.echo(f"{report.pair_count} pairs by {', '.join(m.name for m in report.methods)}: {out}")
