"""A program of `examples/` in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path


@contextmanager
def running_example(
    program: Path, *words: str | Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """Run `program` with `words` and the variables `env` beside this process's; it is killed at the end.

    Ctrl-C (SIGINT) acts on it also where the tests themselves run in the background.
    """
    with subprocess.Popen(
        [sys.executable, program, *words],
        env=os.environ | env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            yield process
        finally:
            process.kill()
