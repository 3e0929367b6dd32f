"""An archive over a Ray cluster: Ray Data gives each worker one recording at a time.

Workers write their results themselves, to a file system that all machines see under the same paths; the driver receives
the outcomes. Invariant: a recording whose worker dies is retried by another, a few times, and then reported.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from usert.errors import OptionError, UsertError, expect, require

from .recipe import Recipe
from .run_folder import ArchiveWorker, Job, Opener, Outcome

LOCAL = "local"
"""The address that starts Ray on this machine, and stops it at the end."""
_ANSWER_S = 10.0
_TRIES = 4
"""Attempts at a recording: Ray retries without end, which must not happen where it kills every worker."""


class _Begun:
    """Counts the attempts at each recording, in an actor of its own that outlives the workers."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, name: str) -> int:
        """Count one more attempt at the recording `name`; returns the number so far."""
        self._counts[name] += 1
        return self._counts[name]


class _RayWorker:
    """One process of the cluster, with an engine that is open as long as the process lives."""

    def __init__(self, opener: Opener, recipe: Recipe, begun: Any) -> None:
        self._begun = begun
        self._worker: ArchiveWorker | UsertError
        try:
            self._worker = ArchiveWorker(opener, recipe)
        except UsertError as error:  # reported with each recording, since Ray would print pages
            self._worker = error

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        import ray

        job = Job(**row)
        if isinstance(self._worker, UsertError):
            return asdict(Outcome(name=job.name, state="failed", told=str(self._worker)))
        if ray.get(self._begun.count.remote(job.name)) > _TRIES:
            told = f"its worker died {_TRIES} times: too little memory, or a library that crashes on it"
            return asdict(Outcome(name=job.name, state="failed", told=told))
        return asdict(self._worker.work(job))


@contextmanager
def ray_cluster(address: str, *, cpus: int) -> Iterator[Any]:
    """The module `ray`, connected to `address` as `ray.init` takes it, or to a cluster of its own where it is `LOCAL`.

    Errors: `MissingExtraError`; `OptionError` where no Ray answers, or it has fewer than `cpus`.
    """
    _check_answers(address)
    # before Ray is imported: no usage reports, and only fatal errors on the terminal
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # lines on standard output when workers die
    ray = require("ray", "ray")
    require("ray.data", "ray")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    options = {"num_cpus": cpus, "include_dashboard": False} if address == LOCAL else {}
    try:
        with _native_stderr_silent():
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        told = " ".join(str(error).split())
        raise OptionError(f"--ray: got {address}, where no Ray answers: {told}") from error
    except SystemExit as error:  # what Ray makes of SIGTERM
        raise KeyboardInterrupt from error
    try:
        there = ray.cluster_resources().get("CPU", 0)
        expect(
            there >= cpus, "--workers times --threads", cpus, f"at most {there:g}, the CPUs of the cluster"
        )
        yield ray
    finally:
        ray.shutdown()


def work_on_ray(
    ray: Any, jobs: Sequence[Job], opener: Opener, recipe: Recipe, *, workers: int, threads: int
) -> Iterator[Outcome]:
    """The outcomes of `jobs` as they come; `ray` is connected, and each worker reserves `threads` CPUs."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    context.execution_no_progress_timeout_s = -1  # half an hour otherwise, and a recording may take longer
    begun = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Begun).remote()
    pool = ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1)
    rows = ray.data.from_items([asdict(job) for job in jobs], override_num_blocks=len(jobs)).map(
        _RayWorker, fn_constructor_args=(opener, recipe, begun), compute=pool, num_cpus=threads
    )
    for row in rows.iter_rows():
        yield Outcome(**row)


def _check_answers(address: str) -> None:
    """Check that something answers at HOST:PORT, as Ray would retry for minutes. Errors: `OptionError`."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or "/" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise OptionError(f"--ray: got {address}, where no Ray answers: {error}") from error


@contextmanager
def _native_stderr_silent() -> Iterator[None]:
    """Discard standard error, to which Ray's C++ part writes although it is silenced."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
