"""`usert rerun`: the images of a live server's record, made again from its frames.

Invariant: exit code 0 means that there were images, and that all that could be compared are the same bit for bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from usert.commands.engine import AT_ONCE_HELP, BUNDLE, PRECISION_HELP
from usert.commands.option import option

if TYPE_CHECKING:
    from usert.runtime.engines.interface import Engine
    from usert.runtime.record.contents import Record
    from usert.runtime.record.rerun import RerunReport


def rerun(
    records: list[Path] = typer.Argument(
        ..., metavar="RECORD.h5…", help="Records of `usert serve --record`."
    ),
    bundle: Path | None = BUNDLE,
    engine: str | None = option(None, "NAME", "As the live server's unless given."),
    precision: str | None = option(None, "NAME", f"{PRECISION_HELP} As the live server's."),
    threads: int | None = option(None, "N", "As the live server's unless given."),
    at_once: int | None = option(None, "N", AT_ONCE_HELP),
) -> None:
    """Recompute the images of a record from its frames, and compare them bit for bit.

    Exit code 1 where an image differs, or where there was none to compare.
    """
    from contextlib import closing

    from usert.commands.engine import load_bundle, open_named
    from usert.runtime.engines.concurrency import check_option
    from usert.runtime.record.contents import Record

    check_option(at_once)
    loaded = load_bundle(bundle)
    same = True
    for path in records:
        with Record(path) as record:
            live = record.configuration
            made_with = str(record.attributes.get("bundle_sha256", ""))
            if made_with != loaded.sha256:
                typer.echo(
                    f"usert: {path}: made with bundle {made_with[:12]}, run again with {loaded.sha256[:12]}:"
                    " expect differences, or name the bundle by --bundle",
                    err=True,
                )
            with closing(
                open_named(
                    loaded,
                    engine=engine or live.get("engine") or "best",
                    threads=threads or live.get("threads"),
                    precision=precision or live.get("precision"),
                    at_once=at_once,
                )
            ) as opened:
                report = _watched(record, opened)
        for made, again in sorted(report.engines):
            if made != again:
                typer.echo(f"usert: {path}: made by {made}, run again by {again}", err=True)
        typer.echo(f"{path}: {report}")
        same = same and 0 < report.compared == report.identical
    if not same:
        raise typer.Exit(1)


def _watched(record: Record, engine: Engine) -> RerunReport:
    """The report, with a bar while it is made; exit code 130 after Ctrl-C."""
    from threading import Event

    from usert.commands.interrupt import stoppable
    from usert.commands.progress import progress_bar
    from usert.runtime.record.rerun import rerun as run_again
    from usert.signals import stop_on_signals

    stop = Event()
    with (
        stoppable(f", {record.recording.path} not compared"),
        stop_on_signals(stop.set),
        progress_bar("rerun") as progress,
    ):
        task = progress.add_task("rerun", total=len(record.images))
        return run_again(
            record,
            engine,
            observe=lambda done: progress.update(task, completed=done),
            stopped=stop.is_set,
        )
