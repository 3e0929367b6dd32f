"""`usert run` on a folder: every recording beneath it, here or over a Ray cluster.

The work is done by `usert.runtime.offline.run_folder`. Invariant: each recording is reported in one line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import typer

from usert.commands.progress import progress_bar
from usert.errors import FAULT, expect
from usert.runtime.offline.outputs import remove_parts
from usert.runtime.offline.pairs import counted
from usert.runtime.offline.ray_cluster import ray_cluster, work_on_ray
from usert.runtime.offline.recipe import Recipe
from usert.runtime.offline.run_folder import ArchiveWorker, Job, Opener, Outcome, find_jobs
from usert.signals import stop_on_signals


def run_archive(folder: Path, out: Path, recipe: Recipe, opener: Opener) -> None:
    """Process the recordings beneath `folder`, one after another in this process; a signal ends it after the pairs in
    work. Results go to the folder `out`.

    Errors: `typer.Exit` where a result is missing, or after a signal.
    """
    jobs, stop = find_jobs(folder, out), Event()
    with stop_on_signals(stop.set), ArchiveWorker(opener, recipe, stopped=stop.is_set) as worker:

        def outcomes() -> Iterator[Outcome]:
            for job in jobs:
                if stop.is_set():
                    raise KeyboardInterrupt
                yield worker.work(job)

        _tell(jobs, outcomes(), out)


def run_on_ray(
    folder: Path, out: Path, recipe: Recipe, opener: Opener, address: str, *, workers: int, threads: int
) -> None:
    """Process the recordings on the Ray cluster at `address`, by `workers` of them; a signal ends all at once.

    `threads`: those of the engine that `opener` opens. Errors: `OptionError` for a count below 1; `typer.Exit` as in
    `run_archive`.
    """
    for option, count in (("--workers", workers), ("--threads", threads)):
        expect(count >= 1, option, count, "1 or more")
    jobs, interrupted = find_jobs(folder, out), Event()

    def stop() -> None:
        """End whatever waits, the first time; after that the workers are being ended."""
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    try:
        with (
            stop_on_signals(stop),
            ray_cluster(address, cpus=workers * threads) as ray,
            stop_on_signals(stop),  # again, since Ray has taken SIGTERM
        ):
            _tell(jobs, work_on_ray(ray, jobs, opener, recipe, workers=workers, threads=threads), out)
    finally:
        for job in jobs:
            remove_parts(job.out)  # what workers left that were ended


def _tell(jobs: tuple[Job, ...], outcomes: Iterator[Outcome], out: Path) -> None:
    """A line a recording, a last one for all; exit code 1 where a result is wanting, 130 after a signal."""
    counts: Counter[str] = Counter()
    left_out = 0
    lines: list[str] = []
    progress = progress_bar("recordings")
    # while there is a bar, rich sends standard output to the terminal, too: lines wait for its end
    tell = typer.echo if progress.disable else lines.append
    interrupted = False
    try:
        with progress:
            task = progress.add_task("recordings", total=len(jobs))
            for outcome in outcomes:
                counts[outcome.state] += 1
                left_out += outcome.left_out
                progress.update(task, completed=counts.total())
                if outcome.warning:
                    typer.echo(f"usert: {outcome.name}: {outcome.warning}", err=True)
                if outcome.state in ("done", "kept"):
                    tell(f"{outcome.name}  {outcome.told}")
                else:
                    typer.echo(f"usert: {outcome.name}: {outcome.told}", err=True)
    except KeyboardInterrupt:
        interrupted = True
    for line in lines:
        typer.echo(line)
    if interrupted:
        typer.echo(
            f"usert: stopped after {counts.total()} of {len(jobs)} recordings; the same command goes on from there",
            err=True,
        )
        raise typer.Exit(130)
    ended = ", ".join(
        f"{counts[state]} {state}" for state in ("done", "kept", "refused", "failed") if counts[state]
    )
    missing = f"; {counted(left_out)} left out" if left_out else ""
    typer.echo(f"{len(jobs)} recording{'s' if len(jobs) > 1 else ''} in {out}: {ended}{missing}")
    if counts["refused"] or counts["failed"]:
        raise typer.Exit(FAULT)
