"""A process of a benchmark, which answers what it is sent through a pipe."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from usert.errors import EngineError

from ..transport.lifecycle import Service

_ENDING_S = 10.0


class PipedProcess(Service):
    """Runs `main(pipe, *arguments)` in a process of its own, from the `with` until the end of its block.

    The process is to end when the pipe is closed; it ignores Ctrl-C, which its parent handles.
    """

    def __init__(self, name: object, main: Callable[..., None], *arguments: object) -> None:
        """`name`: what errors call the process. `main` and `arguments` are pickled."""
        super().__init__()
        self._name = name
        self._call = main, arguments

    def _open(self, stack: ExitStack) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        stack.callback(self._pipe.close)
        self._process = context.Process(target=_run, args=(theirs, *self._call), daemon=True)
        self._process.start()
        stack.callback(self._end)
        theirs.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid or 0

    def _send(self, message: object) -> None:
        """Send to the process. Errors: `EngineError` when it has died."""
        try:
            self._pipe.send(message)
        except OSError as error:
            raise self._death() from error

    def _receive(self) -> Any:
        """Wait for an answer. Errors: `EngineError` when the process has died."""
        try:
            return self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error

    def _death(self) -> EngineError:
        self._process.join(_ENDING_S)
        return EngineError(f"{self._name}: its process ended with exit code {self._process.exitcode}")

    def _end(self) -> None:
        self._pipe.close()  # which tells it to end
        self._process.join(_ENDING_S)
        self._process.kill()
        self._process.join()


def _run(pipe: Any, main: Callable[..., None], arguments: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(BrokenPipeError):  # closed while it was at work: then it is to end, too
        main(pipe, *arguments)
